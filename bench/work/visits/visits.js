// SPDX-License-Identifier: Apache-2.0
// The twin of visits.py in JavaScript, with garbage of 16 KiB in each render; its collections are what --trace-gc prints.
const net = require("net");

let visits = 0;
let calls = 0;
let page;

function render(number) {
    calls++;
    page = new Array(2048).fill(number + 0.5);
    return Array.from({ length: 60 }, (_, k) => (k * 7919) % (101 + number))
        .sort((a, b) => a - b)
        .join(" ");
}

function visit() {
    for (let number = 0; number < 10; number++)
        render(number);
    if (++visits % 100 == 0)
        global.gc();
}

net.createServer((client) => {
    client.on("error", () => {});
    client.on("data", (data) => {
        // A client waits for the answer to each line.
        if (data.toString() === "stat\n") {
            client.write(`calls ${calls}\n`);
        } else {
            visit();
            client.write("ok\n");
        }
    });
}).listen(Number(process.argv[2]), "127.0.0.1");
