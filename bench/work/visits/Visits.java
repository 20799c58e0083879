// SPDX-License-Identifier: Apache-2.0
// The twin of visits.py in Java; its collections are in the log that the JVM writes.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Arrays;

public class Visits {
    static long visits, calls, objects;
    static Item kept; // so that no compiler leaves the allocations out
    static byte[] page;

    static class Item {
        final int number;

        Item(int number) {
            this.number = number;
        }
    }

    static int render(int number) {
        int[] numbers = new int[60];

        calls++;
        objects++;
        kept = new Item(number);
        page = new byte[1 << 14];
        for (int k = 0; k < numbers.length; k++)
            numbers[k] = k * 7919 % (101 + number);
        Arrays.sort(numbers);
        return numbers[number];
    }

    static void visit() {
        for (int number = 0; number < 10; number++)
            render(number);
        if (++visits % 100 == 0)
            System.gc();
    }

    public static void main(String[] words) throws Exception {
        ServerSocket server = new ServerSocket(Integer.parseInt(words[0]), 50, InetAddress.getLoopbackAddress());

        while (true) {
            try (Socket client = server.accept()) {
                BufferedReader lines = new BufferedReader(new InputStreamReader(client.getInputStream()));
                OutputStream out = client.getOutputStream();
                String line;

                while ((line = lines.readLine()) != null) {
                    String answer = "ok";

                    if (line.equals("stat"))
                        answer = "calls " + calls + " objects " + objects;
                    else
                        visit();
                    out.write((answer + "\n").getBytes());
                }
            }
        }
    }
}
