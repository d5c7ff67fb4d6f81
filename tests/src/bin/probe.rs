//! Runs inside the node's network namespace for the tests: captures all frames, fetches a page, serves as an
//! Envoy's agent, records and replays a control plane, or serves malformed responses. Exists because a test process that entered another namespace could
//! not return without privileges.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use tests::recorded;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["capture", ready] => capture(ready),
        ["get", url] => get(url),
        ["ask", folder] => ask(std::path::Path::new(folder)),
        ["origin", http1, http2] => {
            let port = |text: &str| text.parse().expect("the port is a number");
            tests::origin::serve(port(http1), port(http2));
        }
        ["agent", port, ref files @ ..] => {
            let files = match files {
                [] => None,
                [folder, name] => Some((std::path::Path::new(*folder), *name)),
                _ => panic!("a folder and a name"),
            };
            tests::agent::serve(port.parse().expect("the port is a number"), files);
        }
        ["record", address, node, to] => recorded::record(address, node.as_ref(), to.as_ref()),
        ["replay", port, from, ref stock @ ..] => {
            let (port, recording) =
                (port.parse().expect("the port is a number"), recorded::load(from.as_ref()));
            recorded::replay(
                port,
                &if stock.is_empty() { recording } else { recorded::for_stock_envoy(recording) },
            );
        }
        _ => panic!(
            "usage: probe capture READY-FILE | get URL | ask FOLDER | origin HTTP1-PORT HTTP2-PORT | agent PORT [FOLDER NAME] | record ADDRESS NODE-FILE FILE | replay PORT FILE [stock]"
        ),
    }
}

/// Prints all frames until its input ends.
fn capture(ready: &str) {
    let wire = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
        .expect("the node's owner may open packet sockets in its network");
    setsockopt(&wire, sockopt::ReceiveTimeout, &TimeVal::milliseconds(100)).expect("sockets have timeouts");
    // The default buffer loses frames under load; without privileges the kernel grants less than requested.
    let _ = setsockopt(&wire, sockopt::RcvBuf, &(32 << 20));
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut vec![]);
        flag.store(true, Ordering::Relaxed);
    });
    std::fs::write(ready, "").expect("the test's folder can be written");
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut frame = vec![0; 1 << 17];
    loop {
        match recv(wire.as_raw_fd(), &mut frame, nix::sys::socket::MsgFlags::empty()) {
            Ok(length) => out.write_all(&frame[..length]).expect("the test reads"),
            // Frames in transit when the input ends still count; a read timeout means that none are left.
            Err(_) if ended.load(Ordering::Relaxed) => break,
            Err(_) => {}
        }
    }
    out.flush().expect("the test reads");
}

/// Reads requests, one JSON value per line, and prints the responses in the same form.
fn ask(folder: &std::path::Path) {
    for line in std::io::stdin().lines() {
        let request = serde_json::from_str(&line.expect("the test writes text")).expect("it is a request");
        println!("{}", tests::twin::ask(&request, folder));
    }
}

/// Prints the page at a URL.
fn get(url: &str) {
    let rest = url.strip_prefix("http://").expect("the URL begins with http://");
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut browser =
        tests::browser::Browser::new(address.parse().expect("the URL has an address and a port"));
    let page = browser.get(&format!("/{path}"), &[]).unwrap_or_else(|reason| panic!("{url}: {reason}"));
    assert_eq!(page.status, 200, "{url}: {}", page.text);
    print!("{}", page.text);
}
