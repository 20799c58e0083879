# SPDX-License-Identifier: Apache-2.0
# The twin of visits.py in Ruby. "calls" are those of Array#sort, of which there is one in each render: methods in C are
# what the probes tell of without more.
require "socket"

class Item
  def initialize(number)
    @number = number
  end
end

$visits = $calls = $objects = 0

def render(number)
  $calls += 1
  $objects += 1
  [(0...60).map { |k| k * 7919 % (101 + number) }.sort.join(" "), Item.new(number)]
end

def visit
  GC.enable
  10.times { |number| render(number) }
  $visits += 1
  GC.start if $visits % 100 == 0
  GC.disable
end

GC.disable
server = TCPServer.new("127.0.0.1", ARGV[0].to_i)
loop do
  client = server.accept
  while (line = client.gets)
    if line == "stat\n"
      client.puts "calls #{$calls} objects #{$objects} collections #{GC.count}"
    else
      visit
      client.puts "ok"
    end
  end
  client.close
end
