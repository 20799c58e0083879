<?php
// SPDX-License-Identifier: Apache-2.0
// The twin of visits.py in PHP. "runs" are those of its collector of cycles.
class Item
{
    public $itself;

    public function __construct(public int $number)
    {
        $this->itself = $this;
    }
}

$visits = $calls = 0;

function render(int $number): string
{
    global $calls;
    $calls++;
    new Item($number);
    $numbers = [];
    for ($k = 0; $k < 60; $k++) {
        $numbers[] = $k * 7919 % (101 + $number);
    }
    sort($numbers);
    return implode(" ", $numbers);
}

function visit(): void
{
    global $visits;
    gc_enable();
    for ($number = 0; $number < 10; $number++) {
        render($number);
    }
    if (++$visits % 100 == 0) {
        gc_collect_cycles();
    }
    gc_disable();
}

gc_disable();
$server = stream_socket_server("tcp://127.0.0.1:" . $argv[1]);
while (true) {
    $client = stream_socket_accept($server, -1);
    while (($line = fgets($client)) !== false) {
        if ($line == "stat\n") {
            fwrite($client, "calls $calls runs " . gc_status()["runs"] . "\n");
        } else {
            visit();
            fwrite($client, "ok\n");
        }
    }
    fclose($client);
}
