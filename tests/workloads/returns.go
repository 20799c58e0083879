// Functions of Go whose calls end in every way there is. Says "ready", waits for a line, makes N calls or goroutines,
// and says what came of them.
//
//	returns-go grow N     N goroutines whose stacks grow, and so move, within calls of Grow
//	returns-go wait N     N goroutines, all in Wait at once, on two threads
//	returns-go panic N    every third call of Risky panics, which Guard recovers from
//	returns-go exit N     goroutines end in Leave
//	returns-go wander N   goroutines go on on other threads within Wander
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
)

var sink int

// Grow needs more stack for each n: the frame is large, and what it has on the stack must move with it.
//
//go:noinline
func Grow(n int) int {
	var room [512]int

	room[n%512] = n
	if n > 0 {
		room[(n+1)%512] = Grow(n - 1)
	}
	return room[n%512] + room[(n+1)%512]
}

//go:noinline
func Wait(begun *sync.WaitGroup, end chan bool, n int) int {
	begun.Done()
	<-end
	return n + 1
}

//go:noinline
func Risky(n int) int {
	if n%3 == 0 {
		panic(n)
	}
	return n + 2
}

//go:noinline
func Guard(n int) (result int) {
	defer func() {
		if recover() != nil {
			result = -1
		}
	}()
	return Risky(n)
}

//go:noinline
func Leave(n int) int {
	if n%2 == 0 {
		runtime.Goexit()
	}
	return n
}

//go:noinline
func Wander(n int) int {
	for i := 0; i < 50; i++ {
		runtime.Gosched()
	}
	return Grow(20) + n
}

func main() {
	var done, begun sync.WaitGroup
	var lock sync.Mutex

	runtime.GOMAXPROCS(2)
	what := os.Args[1]
	times, _ := strconv.Atoi(os.Args[2])
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	end := make(chan bool)
	total := 0
	for n := 0; n < times; n++ {
		if what == "panic" {
			total += Guard(n)
			continue
		}
		done.Add(1)
		begun.Add(1)
		go func(n int) {
			defer done.Done()
			result := 0
			switch what {
			case "grow":
				result = Grow(100)
			case "wait":
				result = Wait(&begun, end, n)
			case "exit":
				result = Leave(n)
			case "wander":
				result = Wander(n)
			}
			lock.Lock()
			total += result
			lock.Unlock()
		}(n)
	}
	if what == "wait" {
		begun.Wait()
		close(end)
	}
	done.Wait()
	fmt.Println(total, sink)
}
