//! A control plane that sends garbage: each invalid resource is refused by name, the last good configuration stays
//! in force, and the stream stays open, so that a later valid response is accepted.

use super::*;
use api::wire::xds::Resource as Wrapped;

/// Responds to the first request of each stream with a script, whatever was requested.
#[derive(Clone)]
struct InvalidPlane {
    script: Arc<Vec<DeltaDiscoveryResponse>>,
    requests: Arc<Mutex<Vec<DeltaDiscoveryRequest>>>,
    streams: Arc<Mutex<u32>>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for InvalidPlane {
    type StreamAggregatedResourcesStream = Reply<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Reply<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Grpc> {
        Err(Grpc::unimplemented("the proxy uses the delta protocol"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Grpc> {
        *self.streams.lock().unwrap() += 1;
        let mut requests = request.into_inner();
        let (sender, receiver) = mpsc::unbounded_channel();
        for response in self.script.iter().cloned() {
            sender.send(Ok(response)).unwrap();
        }
        let seen = self.requests.clone();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                seen.lock().unwrap().push(request);
            }
            drop(sender);
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(receiver))))
    }
}

fn response(kind: &str, nonce: &str, resources: Vec<(&str, Any)>) -> DeltaDiscoveryResponse {
    let wrapped = |(name, body): (&str, Any)| Wrapped {
        name: name.to_owned(),
        version: nonce.to_owned(),
        resource: Some(body),
        ..Wrapped::default()
    };
    DeltaDiscoveryResponse {
        type_url: kind.to_owned(),
        nonce: nonce.to_owned(),
        resources: resources.into_iter().map(wrapped).collect(),
        ..DeltaDiscoveryResponse::default()
    }
}

fn encoded(resource: &Resource) -> Any {
    wire::encode(resource, &Target { istio_extensions: true })
}

fn script() -> Vec<DeltaDiscoveryResponse> {
    let clusters = Kind::Cluster.type_url();
    let any = |kind: &str, value: &[u8]| Any { type_url: kind.to_owned(), value: value.to_vec() };
    let good = encoded(&cluster("good"));
    let cut = any(clusters, &good.value[..good.value.len() - 1]);
    let huge = "n".repeat(1 << 20);
    let mut emptied = response(clusters, "emptied", vec![]);
    emptied.resources.push(Wrapped { name: "hollow".into(), ..Wrapped::default() });
    emptied.removed_resources = vec!["never-there".into(), String::new(), "x".repeat(10_000)];
    vec![
        response(clusters, "first", vec![("good", good.clone()), ("stays", encoded(&cluster("stays")))]),
        response(clusters, "noise", vec![("noise", any(clusters, &[0xff; 64]))]),
        response(clusters, "cut", vec![("good", cut)]),
        response(clusters, "other", vec![("other", any("type.googleapis.com/acme.Anvil", &[1, 2, 3]))]),
        response(clusters, "wrong", vec![("wrong", encoded(&listener("wrong", "r")))]),
        response("type.googleapis.com/acme.Anvil", "unknown", vec![("anvil", good.clone())]),
        response("", "nameless", vec![("nameless", good.clone())]),
        response(clusters, &huge, vec![("long", any(clusters, &[8; 3]))]),
        emptied,
        response(clusters, "", vec![("late", encoded(&cluster("late")))]),
    ]
}

#[tokio::test]
async fn garbage_is_refused_by_name_and_the_last_good_configuration_stays_in_force() {
    local(async {
        let plane =
            InvalidPlane { script: Arc::new(script()), requests: Arc::default(), streams: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = tonic::service::Routes::new(AggregatedDiscoveryServiceServer::new(plane.clone()));
        tokio::spawn(serve::http(listener, router.into_axum_router(), CancellationToken::new()));
        let mut proxy = start(address);
        // Their endpoints never arrive, so the configuration stays incomplete; the names show which clusters were
        // accepted.
        let is_last = |status: &Status| {
            status.versions.get(&Kind::Cluster).is_some_and(|versions| versions.contains_key("late"))
        };
        proxy.until_status("the last, good, cluster", is_last).await;
        let status = proxy.status.borrow().clone();
        let accepted: Vec<&String> = status.versions[&Kind::Cluster].keys().collect();
        assert_eq!(accepted, ["good", "late", "stays"]);
        assert_eq!(status.versions[&Kind::Cluster]["good"].text, "first", "the last good version");
        for name in ["noise", "good", "other", "wrong", "long"] {
            let reason = &status.refused[&(Kind::Cluster, name.to_owned())];
            assert!(!reason.is_empty(), "{name}");
        }
        assert!(status.refused[&(Kind::Cluster, "other".into())].contains("acme.Anvil"), "{status:?}");
        assert!(status.refused[&(Kind::Cluster, "wrong".into())].contains("Listener"), "{status:?}");
        check_acknowledgements(&plane).await;
        assert_eq!(*plane.streams.lock().unwrap(), 1, "the stream ended");
    })
    .await;
}

/// Checks that each response of a known kind was acknowledged with its nonce, or rejected if it had an invalid
/// resource.
async fn check_acknowledgements(plane: &InvalidPlane) {
    let all = async {
        while !plane.requests.lock().unwrap().iter().any(|request| request.response_nonce == "emptied") {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, all).await.is_ok(), "{:?}", plane.requests.lock().unwrap());
    let requests = plane.requests.lock().unwrap();
    let refusal = |nonce: &str| {
        let acknowledgement = requests.iter().find(|request| request.response_nonce == nonce);
        acknowledgement
            .unwrap_or_else(|| panic!("no acknowledgement of {nonce:.9}"))
            .error_detail
            .clone()
            .map(|d| d.message)
    };
    for nonce in ["noise", "cut", "other", "wrong", &"n".repeat(1 << 20)] {
        let reason = refusal(nonce).unwrap_or_else(|| panic!("{nonce:.9} was accepted"));
        assert!(reason.contains(": "), "{reason}");
    }
    assert_eq!((refusal("first"), refusal("emptied")), (None, None));
    assert!(!requests.iter().any(|request| ["unknown", "nameless"].contains(&&*request.response_nonce)));
}

#[tokio::test]
async fn reconnects_to_a_failing_control_plane_back_off() {
    local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let times: Arc<Mutex<Vec<std::time::Instant>>> = Arc::default();
        let seen = times.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                seen.lock().unwrap().push(std::time::Instant::now());
                // A connection that sends noise instead of HTTP/2, and ends.
                let _ = stream.try_write(b"HTTP/1.1 418 \r\n\r\n");
            }
        });
        let proxy = start(address);
        let enough = async {
            while times.lock().unwrap().len() < 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(LIMIT, enough).await.is_ok(), "{:?}", times.lock().unwrap());
        let times = times.lock().unwrap();
        let between = |at: usize| times[at + 1].duration_since(times[at]);
        assert!(between(3) > between(0), "{times:?}");
        assert!(between(3) >= Duration::from_millis(300), "{times:?}");
        assert!(!proxy.status.borrow().connected);
    })
    .await;
}
