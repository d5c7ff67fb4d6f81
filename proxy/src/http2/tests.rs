//! Client and server, each against h2 itself at the other end of a socket.

use super::client::{Client, Failure, connect};
use super::server::{Connection, Settings};
use crate::io::Stream;
use crate::io::copy::tests::plain;
use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Duration;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(20), test).await.expect("it ends");
    });
}

async fn sockets() -> (Stream, TcpStream) {
    let (near, far) = crate::io::copy::tests::sockets().await;
    (plain(near), far)
}

type Peer = h2::server::Connection<TcpStream, Bytes>;
type Received = (Request<h2::RecvStream>, SendResponse<Bytes>);

/// Our client, and a server that allows this many concurrent streams.
async fn client(streams: u32) -> (Client, Peer) {
    let (near, far) = sockets().await;
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams);
    let (near, far) = tokio::join!(connect(near, ()), builder.handshake(far));
    (near.unwrap(), far.unwrap())
}

/// Responds to each request in a task of its own, until the connection ends.
async fn respond<F: Future<Output = ()> + 'static>(mut peer: Peer, handler: impl Fn(Received) -> F) {
    while let Some(Ok(request)) = peer.accept().await {
        spawn_local(handler(request));
    }
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("http://a/").body(Empty::new()).unwrap()
}

async fn read(mut body: h2::RecvStream) -> (Result<Vec<u8>, h2::Error>, Option<HeaderMap>) {
    let mut all = vec![];
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                body.flow_control().release_capacity(data.len()).unwrap();
                all.extend(data);
            }
            Err(error) => return (Err(error), None),
        }
    }
    (Ok(all), body.trailers().await.unwrap())
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())])
}

#[test]
fn bodies_longer_than_a_window_and_trailers_pass_in_both_directions() {
    run(async {
        let (client, peer) = client(100).await;
        spawn_local(respond(peer, |(request, mut reply)| async move {
            let (data, trailers) = read(request.into_body()).await;
            let mut stream = reply.send_response(Response::new(()), false).unwrap();
            stream.send_data(data.unwrap().into(), false).unwrap();
            stream.send_trailers(trailers.unwrap()).unwrap();
        }));
        let sent: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let frames = sent.chunks(100_000).map(Bytes::copy_from_slice).map(Frame::data);
        let frames = frames.chain([Frame::trailers(trailers())]).map(Ok::<_, Infallible>);
        let body = StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<_>>()));
        let (response, _slot) =
            client.send(Request::post("http://a/").body(body).unwrap()).await.map_err(|(e, _)| e).unwrap();
        let got = response.into_body().collect().await.unwrap();
        assert_eq!(got.trailers(), Some(&trailers()));
        assert!(got.to_bytes() == sent, "the bytes differ");
    });
}

/// A body whose frames come from a channel.
fn channel() -> (mpsc::Sender<Frame<Bytes>>, impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin) {
    let (sender, mut receiver) = mpsc::channel(1);
    let frames = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context).map(|f| f.map(Ok)));
    (sender, StreamBody::new(frames))
}

#[test]
fn a_response_may_arrive_before_the_end_of_its_request() {
    run(async {
        let (client, peer) = client(100).await;
        spawn_local(respond(peer, |(request, mut reply)| async move {
            let mut stream = reply.send_response(Response::new(()), false).unwrap();
            let (data, _) = read(request.into_body()).await;
            stream.send_data(data.unwrap().into(), true).unwrap();
        }));
        let (sender, body) = channel();
        let request = Request::post("http://a/").body(body).unwrap();
        let (response, _slot) = client.send(request).await.map_err(|(e, _)| e).unwrap();
        sender.send(Frame::data("late".into())).await.unwrap();
        drop(sender);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "late");
    });
}

#[test]
fn a_request_is_cancelled_when_its_response_is_dropped() {
    run(async {
        let (client, peer) = client(100).await;
        let (sender, receiver) = oneshot::channel();
        let sender = Rc::new(Cell::new(Some(sender)));
        spawn_local(respond(peer, move |(request, mut reply)| {
            let sender = sender.clone();
            async move {
                let _stream = reply.send_response(Response::new(()), false).unwrap();
                let _ = sender.take().unwrap().send(read(request.into_body()).await.0.unwrap_err().reason());
            }
        }));
        let (_sender, body) = channel();
        let request = Request::post("http://a/").body(body).unwrap();
        drop(client.send(request).await.map_err(|(e, _)| e).unwrap());
        assert_eq!(receiver.await.unwrap(), Some(Reason::CANCEL));
    });
}

#[test]
fn a_reset_response_is_complete_only_if_just_its_request_was_cut() {
    for (asked, length, reason, whole) in [
        (false, None, Reason::NO_ERROR, true),
        (true, None, Reason::NO_ERROR, false),
        (false, Some(4), Reason::CANCEL, true),
        (false, Some(5), Reason::NO_ERROR, true),
        (false, None, Reason::CANCEL, false),
        (true, Some(5), Reason::INTERNAL_ERROR, false),
    ] {
        run(async move {
            let (client, peer) = client(100).await;
            spawn_local(respond(peer, move |(request, mut reply)| async move {
                let mut response = Response::builder();
                if let Some(length) = length {
                    response = response.header("content-length", length);
                }
                let mut stream = reply.send_response(response.body(()).unwrap(), false).unwrap();
                stream.send_data("four".into(), false).unwrap();
                // Only data that has been sent can be cut off by a reset.
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.send_reset(reason);
                drop(request);
            }));
            let (sender, body) = channel();
            let _unfinished = Some(sender).filter(|_| !asked);
            let request = Request::post("http://a/").body(body).unwrap();
            let (response, _slot) = client.send(request).await.map_err(|(e, _)| e).unwrap();
            let mut body = response.into_body();
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(first, "four");
            let next = body.frame().await;
            let failed = next.map(|next| next.unwrap_err().reason());
            assert_eq!(failed, (!whole).then_some(Some(reason)), "{asked} {length:?} {reason:?}");
            assert!(body.frame().await.is_none(), "a body ends once");
        });
    }
}

#[test]
fn a_response_whose_length_is_not_the_announced_one_fails() {
    run(async {
        let (client, peer) = client(100).await;
        spawn_local(respond(peer, move |(_, mut reply)| async move {
            let response = Response::builder().header("content-length", 10).body(()).unwrap();
            let mut stream = reply.send_response(response, false).unwrap();
            stream.send_data("abc".into(), true).unwrap();
        }));
        let (response, _slot) = client.send(get()).await.map_err(|(e, _)| e).unwrap();
        let error = response.into_body().collect().await.unwrap_err();
        assert!(error.is_library() && error.reason() == Some(Reason::PROTOCOL_ERROR), "{error:?}");
    });
}

#[test]
fn a_head_that_is_too_large_is_not_passed_on() {
    for (count, bytes, passes) in [(100, 1, true), (101, 1, false), (1, 61_000, true), (1, 62_000, false)] {
        run(async move {
            let (client, peer) = client(100).await;
            spawn_local(respond(peer, move |(_, mut reply)| async move {
                let value = "x".repeat(bytes);
                let names = (0..count).map(|i| format!("x-{i}"));
                let response = names.fold(Response::builder(), |all, name| all.header(name, &value));
                reply.send_response(response.body(()).unwrap(), true).unwrap();
            }));
            match client.send(get()).await {
                Ok(_) => assert!(passes, "{count} of {bytes}"),
                Err((failure, _)) => assert!(!passes && matches!(failure, Failure::TooLarge), "{failure:?}"),
            }
        });
    }
}

#[test]
fn a_message_with_two_lengths_is_refused() {
    run(async {
        let (client, peer) = client(100).await;
        spawn_local(respond(peer, move |(_, mut reply)| async move {
            let response = Response::builder().header("content-length", 1).header("content-length", 2);
            reply
                .send_response(response.body(()).unwrap(), false)
                .unwrap()
                .send_data("x".into(), true)
                .unwrap();
        }));
        let Err((Failure::Stream(error), None)) = client.send(get()).await else { panic!("a response") };
        assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));

        let (mut sender, _close, _) = server(|_| async { Response::new(Full::from("ok")) }).await;
        let two = Request::post("http://a/").header("content-length", 1).header("content-length", 2);
        let (two, mut body) = sender.send_request(two.body(()).unwrap(), false).unwrap();
        body.send_data("x".into(), true).unwrap();
        assert_eq!(two.await.unwrap_err().reason(), Some(Reason::PROTOCOL_ERROR));
        let (next, _) = sender.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
        assert_eq!(read(next.await.unwrap().into_body()).await.0.unwrap(), b"ok");
    });
}

#[derive(Debug, thiserror::Error)]
#[error("the source failed")]
struct Broken(#[source] h2::Error);

#[test]
fn a_request_whose_body_fails_is_reset_for_the_reason_that_its_source_gives() {
    run(async {
        let (client, peer) = client(100).await;
        let (sender, receiver) = oneshot::channel();
        let sender = Rc::new(Cell::new(Some(sender)));
        spawn_local(respond(peer, move |(request, _reply)| {
            let sender = sender.clone();
            async move {
                let error = read(request.into_body()).await.0.unwrap_err();
                let _ = sender.take().unwrap().send(error.reason());
            }
        }));
        let frames = vec![Ok(Frame::data(Bytes::from("x"))), Err(Broken(Reason::CANCEL.into()))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let result = client.send(Request::post("http://a/").body(body).unwrap()).await;
        assert!(matches!(result, Err((Failure::Body, None))));
        assert_eq!(receiver.await.unwrap(), Some(Reason::CANCEL));
    });
}

#[test]
fn a_connection_with_goaway_returns_unsent_requests() {
    run(async {
        let (client, mut peer) = client(100).await;
        assert!(client.has_room() && !client.is_closed());
        peer.graceful_shutdown();
        let serving = spawn_local(async move { while peer.accept().await.is_some() {} });
        while !client.is_closed() {
            tokio::task::yield_now().await;
        }
        assert!(!client.has_room());
        let Err((Failure::Closed, Some(request))) = client.send(get()).await else { panic!("sent") };
        assert_eq!(request.uri(), "http://a/");
        drop(client);
        serving.await.unwrap();
    });
}

#[test]
fn a_connection_observes_the_servers_limit_on_streams() {
    run(async {
        let (client, peer) = client(2).await;
        spawn_local(respond(peer, |(_, mut reply)| async move {
            let mut stream = reply.send_response(Response::new(()), false).unwrap();
            stream.reserve_capacity(1);
            std::future::pending::<()>().await;
        }));
        let one = client.send(get()).await.map_err(|(e, _)| e).unwrap();
        assert!(client.has_room() && client.has_served());
        let two = client.send(get()).await.map_err(|(e, _)| e).unwrap();
        assert!(!client.has_room(), "two of two streams are open");
        let far = tokio::time::Instant::now().into_std() + Duration::from_secs(60);
        assert!(!client.idle_for(far, Duration::from_secs(1)));
        drop((one, two));
        assert!(client.has_room() && client.idle_for(far, Duration::from_secs(1)));
    });
}

#[test]
fn a_dropped_client_closes_its_connection_after_the_last_stream() {
    run(async {
        let (client, peer) = client(100).await;
        let serving = spawn_local(respond(peer, |(_, mut reply)| async move {
            reply.send_response(Response::new(()), false).unwrap().send_data("x".into(), true).unwrap();
        }));
        let (response, slot) = client.send(get()).await.map_err(|(e, _)| e).unwrap();
        drop(client);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "x");
        drop(slot);
        serving.await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn a_silently_dead_server_is_detected_while_a_request_waits() {
    let waiting = async {
        let (near, mut far) = sockets().await;
        let client = connect(near, ()).await.unwrap();
        let silent = spawn_local(async move {
            let mut sink = vec![];
            let _ = far.read_to_end(&mut sink).await;
        });
        let started = tokio::time::Instant::now();
        let (failure, _) = client.send(get()).await.map(drop).unwrap_err();
        assert!(matches!(failure, Failure::Stream(error) if error.is_io()));
        assert_eq!(started.elapsed().as_secs(), 50, "an interval and the time for a response");
        assert!(client.is_closed());
        silent.await.unwrap();
    };
    LocalSet::new().run_until(waiting).await;
}

const SETTINGS: Settings =
    Settings { max_streams: 10, max_headers: 16 * 1024, head_timeout: Some(Duration::from_secs(60)) };

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_to_its_end_ends_the_connection_however_steadily_bytes_come() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let whole = |frame: &[u8]| [preface, frame].concat();
    let table: [(Vec<u8>, &[u8]); 5] = [
        (preface[..10].to_vec(), b""),
        (whole(b"\0\x10\0\x01\x05\0\0\0\x01"), b"\x82"),
        (whole(b"\0\0\x01\x01\x01\0\0\0\x01\x82"), b""),
        (whole(b"\0\0\x01\x01\x01\0\0\0\x01\x82\0\x10\0\x09\0\0\0\0\x01"), b"\x84"),
        (whole(b"\0\x10"), b""),
    ];
    LocalSet::new()
        .run_until(async {
            for (first, drip) in table {
                let (near, mut far) = sockets().await;
                let started = tokio::time::Instant::now();
                let client = spawn_local(async move {
                    far.write_all(&first).await.unwrap();
                    while far.write_all(drip).await.is_ok() {
                        tokio::time::sleep(Duration::from_secs(7)).await;
                    }
                });
                let mut connection = Connection::new(near, SETTINGS);
                let ended = poll_fn(|context| connection.poll_next(context));
                let ended = tokio::time::timeout(Duration::from_secs(200), ended).await;
                assert!(ended.expect("it ends").is_none());
                let took = started.elapsed().as_secs();
                assert!((60..=125).contains(&took), "{took} s");
                client.abort();
            }
        })
        .await;
}

/// Our server, whose responses come from `handler`, and a client.
async fn server<F: Future<Output = Response<Full<Bytes>>> + 'static>(
    handler: impl Fn(Request<super::Body>) -> F + 'static,
) -> (h2::client::SendRequest<Bytes>, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let (near, far) = sockets().await;
    let (close, mut closing) = oneshot::channel::<()>();
    let serving = spawn_local(async move {
        let mut connection = Connection::new(near, SETTINGS);
        poll_fn(|context| {
            if Pin::new(&mut closing).poll(context).is_ready() {
                (_, closing) = oneshot::channel();
                connection.close();
            }
            loop {
                match connection.poll_next(context) {
                    Poll::Ready(Some((request, reply))) => {
                        let response = handler(request);
                        spawn_local(async move { reply.send(pin!(response)).await });
                    }
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    });
    let (sender, connection) = h2::client::handshake(far).await.unwrap();
    spawn_local(connection);
    (sender, close, serving)
}

#[test]
fn a_response_to_a_reset_stream_is_dropped() {
    struct NotifyOnDrop(Option<oneshot::Sender<()>>);
    impl Drop for NotifyOnDrop {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }
    run(async {
        let (sender, dropped) = oneshot::channel();
        let sender = Cell::new(Some(NotifyOnDrop(Some(sender))));
        let (mut sender, _close, _) = server(move |_| {
            let sender = sender.take();
            async move {
                let _guard = sender;
                std::future::pending().await
            }
        })
        .await;
        let (response, mut stream) =
            sender.send_request(Request::post("http://a/").body(()).unwrap(), false).unwrap();
        stream.send_reset(Reason::CANCEL);
        drop(response);
        dropped.await.unwrap();
    });
}

#[test]
fn a_closing_server_completes_active_requests() {
    run(async {
        let go = Rc::new(tokio::sync::Notify::new());
        let going = go.clone();
        let (mut sender, close, serving) = server(move |request| {
            let go = going.clone();
            async move {
                go.notified().await;
                Response::new(Full::from(request.uri().path().to_owned()))
            }
        })
        .await;
        let (response, _) = sender.send_request(Request::get("http://a/b").body(()).unwrap(), true).unwrap();
        // The request arrives before the connection is asked to close.
        tokio::time::sleep(Duration::from_millis(50)).await;
        close.send(()).unwrap();
        go.notify_one();
        assert_eq!(read(response.await.unwrap().into_body()).await.0.unwrap(), b"/b");
        serving.await.unwrap();
    });
}

#[test]
fn a_response_that_http2_cannot_carry_ends_its_stream_and_no_other() {
    run(async {
        let (mut sender, _close, _) = server(|request| async move {
            let mut response = Response::new(Full::from("ok"));
            if request.uri().path() == "/bad" {
                response.headers_mut().insert("connection", "close".parse().unwrap());
            }
            response
        })
        .await;
        let ask = |path: &str| Request::get(format!("http://a{path}")).body(()).unwrap();
        let (bad, _) = sender.send_request(ask("/bad"), true).unwrap();
        assert_eq!(bad.await.unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
        let (good, _) = sender.send_request(ask("/good"), true).unwrap();
        assert_eq!(read(good.await.unwrap().into_body()).await.0.unwrap(), b"ok");
    });
}
