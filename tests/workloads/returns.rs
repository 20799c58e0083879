// Functions of Rust that panics pass. Says "ready", waits for a line, makes N calls of middle, which calls inner, which
// panics every third time, and says what came of them.
use std::hint::black_box;
use std::io::Write;
use std::panic;

struct Guard<'a>(&'a std::cell::Cell<i64>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[no_mangle]
#[inline(never)]
pub fn inner(n: i64) -> i64 {
    if n % 3 == 0 {
        panic!("number {}", n);
    }
    n + 1
}

#[no_mangle]
#[inline(never)]
pub fn middle(n: i64, dropped: &std::cell::Cell<i64>) -> i64 {
    let _guard = Guard(dropped);
    inner(black_box(n)) + 1
}

#[no_mangle]
#[inline(never)]
pub fn outer(n: i64, dropped: &std::cell::Cell<i64>) -> i64 {
    panic::catch_unwind(panic::AssertUnwindSafe(|| middle(n, dropped))).unwrap_or(-1)
}

fn main() {
    let times: i64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let dropped = std::cell::Cell::new(0);
    let mut line = String::new();

    panic::set_hook(Box::new(|_| {}));
    println!("ready");
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_line(&mut line).unwrap();
    let total: i64 = (0..times).map(|n| outer(black_box(n), &dropped)).sum();
    println!("{} {}", total, dropped.get());
}
