//! A server that says what its client asks it to say, byte by byte, and hangs up: what no server with manners would
//! answer is worth a test too.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// The header with the answer; `\r` and `\n` in it stand for the ends of lines.
const ANSWER: &str = "x-answer: ";

/// Serves the port until the process ends.
pub fn serve(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    for socket in listener.incoming() {
        let socket = socket.expect("connections come");
        std::thread::spawn(move || answer(socket));
    }
}

/// Answers one request. A client that is gone before is not worth a word.
fn answer(mut socket: TcpStream) -> Option<()> {
    let mut head = vec![];
    let mut piece = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = socket.read(&mut piece).ok().filter(|read| *read > 0)?;
        head.extend(&piece[..read]);
    }
    let head = String::from_utf8(head).ok()?;
    let text = head.lines().find_map(|line| line.strip_prefix(ANSWER))?;
    socket.write_all(text.replace("\\r", "\r").replace("\\n", "\n").as_bytes()).ok()?;
    // What was said is read before the end is seen, so that the one is not taken for the other.
    std::thread::sleep(Duration::from_millis(50));
    Some(())
}
