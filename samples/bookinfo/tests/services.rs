//! Tests of the four services together, over sockets on free ports.

use std::net::SocketAddr;
use std::time::Duration;

use bookinfo::app;
use bookinfo::config::{Arguments, Config};
use bookinfo::role::Service;
use bookinfo::role::productpage::Productpage;
use bytes::Bytes;
use clap::Parser;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A service that runs until `stop` is called.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).expect("the service waits for this");
        self.done.await.expect("the service ends in order");
    }
}

fn config(arguments: &[&str], ratings: SocketAddr, details: SocketAddr, reviews: SocketAddr) -> Config {
    let port = |address: SocketAddr| address.port().to_string();
    let (ratings, details, reviews) = (port(ratings), port(details), port(reviews));
    let host = "127.0.0.1";
    let flags = [
        ["--ratings-hostname", host, "--ratings-port", &ratings],
        ["--details-hostname", host, "--details-port", &details],
        ["--reviews-hostname", host, "--reviews-port", &reviews],
    ]
    .concat();
    let all = [&["bookinfo"], arguments, flags.as_slice()].concat();
    Arguments::parse_from(all).into_config().expect("addresses are hosts and ports")
}

async fn start(service: Service, delay: Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(app::serve(listener, service, async move { drop(stopped.await) }, delay));
    Running { address, stop, done }
}

/// Starts all four services. The first of the returned values is `productpage`.
async fn shop(version: &str) -> Vec<Running> {
    let flags = ["--version", version, "--pod-name", "somewhere"];
    let settings = |role, ratings, details, reviews| {
        config(&[&[role], flags.as_slice()].concat(), ratings, details, reviews)
    };
    let begin = async |config: Config| start(Service::of(&config), Duration::ZERO).await;
    let ratings = begin(settings("ratings", NOWHERE, NOWHERE, NOWHERE)).await;
    let details = begin(settings("details", NOWHERE, NOWHERE, NOWHERE)).await;
    let reviews = begin(settings("reviews", ratings.address, NOWHERE, NOWHERE)).await;
    let addresses = (ratings.address, details.address, reviews.address);
    let page = begin(settings("productpage", addresses.0, addresses.1, addresses.2)).await;
    vec![page, reviews, details, ratings]
}

/// An address that refuses connections, because nothing listens on the port of tcpmux.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

async fn send(
    method: Method,
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
    let (head, body) = client.request(request).await.expect("a response").into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Response::from_parts(head, String::from_utf8(body.into()).expect("text"))
}

async fn get(address: SocketAddr, path: &str) -> Response<String> {
    send(Method::GET, address, path, &[], "").await
}

#[tokio::test]
async fn the_page_shows_the_stars_of_the_version_of_reviews() {
    for (version, stars, style) in [("v1", 0, ""), ("v2", 9, "color:black"), ("v3", 9, "color:red")] {
        let shop = shop(version).await;
        let page = get(shop[0].address, "/productpage").await;
        assert_eq!(page.status(), StatusCode::OK);
        let served = format!("Reviews served by: reviews-{version} (somewhere)");
        assert!(page.body().contains(&served), "{}", page.body());
        assert!(page.body().contains("<dd>PublisherA</dd>"));
        assert_eq!(page.body().matches('\u{2605}').count(), stars, "{version}");
        assert!(page.body().contains(style));
        for running in shop {
            running.stop().await;
        }
    }
}

#[tokio::test]
async fn the_json_api_returns_the_responses_of_the_services() {
    let shop = shop("v2").await;
    let table = [
        ("/api/v1/products", 200, "\"title\":\"The Comedy of Errors\""),
        ("/api/v1/products/0", 200, "\"ISBN-10\":\"1234567890\""),
        ("/api/v1/products/0/reviews", 200, "\"rating\":{\"stars\":5,\"color\":\"black\"}"),
        ("/api/v1/products/0/ratings", 200, "{\"id\":0,\"ratings\":{\"Reviewer1\":5,\"Reviewer2\":4}}"),
        ("/api/v1/products/x", 400, "numeric"),
        ("/api/v1/products/0/prices", 404, "error"),
        ("/health", 200, "healthy"),
        ("/", 200, "/productpage"),
        ("/static/bookinfo.svg", 200, "<svg"),
        ("/nothing", 404, "error"),
    ];
    for (path, status, text) in table {
        let response = get(shop[0].address, path).await;
        assert_eq!(response.status(), status, "{path}");
        assert!(response.body().contains(text), "{path}: {}", response.body());
    }
}

#[tokio::test]
async fn missing_parts_are_shown_on_the_page_and_in_the_api() {
    let page = config(&["productpage"], NOWHERE, NOWHERE, NOWHERE);
    let page = start(Service::of(&page), Duration::ZERO).await;
    let shown = get(page.address, "/productpage").await;
    assert_eq!(shown.status(), StatusCode::OK);
    assert!(shown.body().contains("Sorry, product reviews are currently unavailable for this book."));
    assert!(shown.body().contains("Sorry, product details are currently unavailable for this book."));
    let api = get(page.address, "/api/v1/products/0/reviews").await;
    assert_eq!(api.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(api.body().contains("Sorry, product reviews are currently unavailable"));

    let reviews = config(&["reviews", "--version", "v3"], NOWHERE, NOWHERE, NOWHERE);
    let reviews = start(Service::of(&reviews), Duration::ZERO).await;
    let response = get(reviews.address, "/reviews/0").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.body().matches("{\"error\":\"Ratings service is currently unavailable\"}").count(),
        2
    );
}

/// Accepts connections, passes the head of each request to the test, and sends `response` if there is one.
async fn recorder(
    response: Option<&'static str>,
) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let (heads, seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(record(stream, heads.clone(), response));
        }
    });
    (address, seen)
}

async fn record(
    mut stream: TcpStream,
    heads: tokio::sync::mpsc::UnboundedSender<String>,
    response: Option<&'static str>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
    heads.send(String::from_utf8(head).expect("an ASCII head")).expect("the test reads heads");
    match response {
        Some(response) => {
            stream.write_all(response.as_bytes()).await.expect("the service reads the response");
        }
        None => std::future::pending().await,
    }
}

#[tokio::test]
async fn a_silent_reviews_service_is_tried_twice() {
    let (silent, mut heads) = recorder(None).await;
    let settings = config(&["productpage"], NOWHERE, NOWHERE, silent);
    let page = Productpage::with_retry_policy(&settings, Duration::from_millis(100));
    let page = start(Service::Productpage(Box::new(page)), Duration::ZERO).await;
    let shown = get(page.address, "/productpage").await;
    assert!(shown.body().contains("Sorry, product reviews are currently unavailable"));
    for _ in 0..2 {
        assert!(heads.try_recv().expect("two tries").starts_with("GET /reviews/0 HTTP/1.1\r\n"));
    }
    assert!(heads.try_recv().is_err(), "no third try");
}

#[tokio::test]
async fn the_api_returns_the_status_of_the_upstream_service() {
    let (failing, _heads) =
        recorder(Some("HTTP/1.1 503 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")).await;
    let settings = config(&["productpage"], failing, NOWHERE, NOWHERE);
    let page = start(Service::of(&settings), Duration::ZERO).await;
    let response = get(page.address, "/api/v1/products/0/ratings").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.body().contains("Sorry, product ratings are currently unavailable"));
}

#[tokio::test]
async fn services_receive_the_signed_in_user() {
    let (reviews, mut heads) =
        recorder(Some("HTTP/1.1 404 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")).await;
    let settings = config(&["productpage"], NOWHERE, NOWHERE, reviews);
    let page = start(Service::of(&settings), Duration::ZERO).await;

    let form = "username=jason&passwd=anything";
    let signed_in = send(Method::POST, page.address, "/login", &[], form).await;
    assert_eq!(signed_in.status(), StatusCode::SEE_OTHER);
    assert_eq!(signed_in.headers()["location"], "/productpage");
    let cookie = signed_in.headers()["set-cookie"].to_str().expect("text").to_owned();
    let cookie = cookie.split(';').next().expect("the pair comes first");

    let sent = [("cookie", cookie), ("x-request-id", "42"), ("traceparent", "00-ab-cd-01")];
    let shown = send(Method::GET, page.address, "/productpage", &sent, "").await;
    assert!(shown.body().contains("Signed in as <b>jason</b>"));
    let head = heads.recv().await.expect("reviews received the request");
    for line in ["end-user: jason\r\n", "x-request-id: 42\r\n", "traceparent: 00-ab-cd-01\r\n"] {
        assert!(head.contains(line), "{line} is not in {head}");
    }

    let signed_out = get(page.address, "/logout").await;
    assert!(signed_out.headers()["set-cookie"].to_str().expect("text").contains("Max-Age=0"));
    assert_eq!(get(page.address, "/login").await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_service_that_shuts_down_tells_clients_to_close_and_finishes_running_requests() {
    let (silent, mut heads) = recorder(None).await;
    let settings = config(&["productpage"], NOWHERE, NOWHERE, silent);
    let page = Productpage::with_retry_policy(&settings, Duration::from_millis(300));
    let page = start(Service::Productpage(Box::new(page)), Duration::from_millis(100)).await;
    let address = page.address;
    let running = tokio::spawn(async move { get(address, "/productpage").await });
    heads.recv().await.expect("the request runs");
    let stopping = tokio::spawn(page.stop());
    let shown = running.await.expect("the task ends");
    assert_eq!(shown.status(), StatusCode::OK);
    assert_eq!(shown.headers()["connection"], "close");
    stopping.await.expect("the service ends in order");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let shop = shop("v1").await;
    let long = "x".repeat(70_000);
    let response = send(Method::POST, shop[0].address, "/login", &[], &long).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}
