//! Builds the injector and runs it until shutdown. All settings are checked before it listens, so that a running
//! process can serve reviews.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use api::admission::AdmissionReview;
use api::process::{
    admin::{self, AdminState, Build},
    enroll::Authority,
    log::{self, Format},
    metrics, open_files,
    own_certificate::{self, Clients},
    ready::Readiness,
    serve, shutdown,
    tls::Serving,
};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Client;
use kubernetes::client::{self, Access};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Args, Settings},
    control::{self, Names, observed::Observed},
    credential::{Credential, Files},
    metrics::Counters,
    pipeline,
    render::proxy_config,
    serve as webhook,
};

/// Runs the injector until SIGTERM or SIGINT.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let format = if args.log_as_json { Format::Json } else { Format::Text };
    let log = log::init(&args.log_level, format);
    let settings = settings(args)?;
    if args.once {
        return once(args, settings);
    }
    let files = credential(args)?;
    open_files::raise();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let drain = CancellationToken::new();
        let readiness = Readiness::new();
        let settings = if args.serves_cluster() {
            Source::Cluster(Box::new(cluster(args, settings, files.is_none()).await?))
        } else {
            Source::Own(Arc::new(settings))
        };
        let admin = listen((args.address, args.http_port).into(), "--http-port").await?;
        let listener = listen((args.address, args.port).into(), "--port").await?;
        let servers = Servers { settings, files, log, readiness };
        let ended = drain.clone();
        let pause = if args.serves_cluster() { LAST_REQUESTS } else { Duration::ZERO };
        let signal = shutdown::signal();
        tokio::spawn(async move {
            signal.await;
            tokio::time::sleep(pause).await;
            ended.cancel();
        });
        servers.run(listener, admin, drain).await;
        Ok(())
    })
}

/// Answers the review on standard input.
fn once(args: &Args, own: Settings) -> anyhow::Result<()> {
    // Nothing says which cluster the pod is for: the oldest that is supported runs native sidecars.
    let oldest = Info { major: "1".to_owned(), minor: "29".to_owned(), ..Info::default() };
    let mut observed = Observed::new(args.clone(), own, &oldest);
    if let Some(path) = &args.mesh_config {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read {} (--mesh-config)", path.display()))?;
        let named = |reason: String| anyhow::anyhow!("{} (--mesh-config): {reason}", path.display());
        observed.mesh(Some(&text)).map_err(named)?;
    }
    let mut body = Vec::new();
    std::io::stdin()
        .take(MAX_REVIEW)
        .read_to_end(&mut body)
        .context("cannot read the review from standard input")?;
    let reviewed = pipeline::process(&body, &observed.settings()).context("the review on standard input")?;
    let review = serde_json::to_vec(&AdmissionReview::with_response(reviewed.response))?;
    std::io::stdout().write_all(&review).context("cannot write the response to standard output")
}

/// Loads the serving certificate, if it is in files.
fn credential(args: &Args) -> anyhow::Result<Option<Credential>> {
    let (Some(certificate), Some(key)) = (args.tls_cert.clone(), args.tls_key.clone()) else {
        return Ok(None);
    };
    let loaded = Credential::load(Files { certificate, key });
    loaded.map(Some).context("the serving certificate (--tls-cert, --tls-key)")
}

/// Prepares what the injector needs of a cluster; `enrolls`: the serving certificate too.
async fn cluster(args: &Args, settings: Settings, enrolls: bool) -> anyhow::Result<Cluster> {
    let access =
        Access { kubeconfig: args.cluster.kubeconfig.clone(), context: args.cluster.context.clone() };
    let client = client::server(&access, "injector")
        .await
        .context("the cluster cannot be used (--kubernetes, --kubeconfig)")?;
    let names = Names::new(&args.cluster.namespace, &settings.template.revision);
    let authority = enrolls.then(|| control::authority(&args.cluster, &settings.template)).transpose()?;
    Ok(Cluster { client, names, authority, args: args.clone(), settings })
}

fn settings(args: &Args) -> anyhow::Result<Settings> {
    let text = match &args.config {
        Some(path) => Some(
            fs::read_to_string(path).with_context(|| format!("cannot read {} (--config)", path.display()))?,
        ),
        None => None,
    };
    let file = args.config.as_deref().zip(text.as_deref());
    let mut settings = Settings::parse(args, file).context("the mesh's defaults (--config)")?;
    let defaults = &mut settings.template.default_config;
    *defaults = proxy_config::checked(std::mem::take(defaults))
        .map_err(|reason| anyhow::anyhow!("defaultConfig.{reason}"))
        .context("the mesh's defaults (--config)")?;
    let unsupported: Vec<&str> = proxy_config::unsupported(defaults).collect();
    if !unsupported.is_empty() {
        tracing::warn!(fields = ?unsupported, "fields of defaultConfig are not supported and have no effect");
    }
    Ok(settings)
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}: stop the process that uses it, or choose another address or {flag}"
        )
    })
}

/// Where settings come from.
enum Source {
    /// The file and the flags.
    Own(Arc<Settings>),
    /// These and a cluster.
    Cluster(Box<Cluster>),
}

/// What the injector needs of a cluster.
struct Cluster {
    client: Client,
    names: Names,
    /// Where the serving certificate is requested, unless it is in files.
    authority: Option<Authority>,
    args: Args,
    settings: Settings,
}

impl Cluster {
    /// Starts to follow the settings of the cluster.
    fn follow(&self, readiness: &Readiness, drain: &CancellationToken) -> watch::Receiver<Arc<Settings>> {
        let (publish, settings) = watch::channel(Arc::new(self.settings.clone()));
        let gate = readiness.wait_for("mesh configuration");
        let (client, names, drain) = (self.client.clone(), self.names.clone(), drain.clone());
        let own = (self.args.clone(), self.settings.clone());
        tokio::spawn(async move {
            let follow = Box::pin(control::settings::follow(client, own, &names, publish, || gate.done()));
            drain.run_until_cancelled(follow).await;
        });
        settings
    }

    /// Requests the serving certificate until it is issued, and has the API server trust it. `None` if draining started
    /// first, or if the certificate is in files.
    async fn enroll(self, drain: &CancellationToken) -> Option<watch::Receiver<Arc<Serving>>> {
        let kept = own_certificate::keep(self.authority?, [Clients::All], drain.clone()).await?;
        let [serving] = kept.serving;
        let (roots, drain) = (kept.roots, drain.clone());
        tokio::spawn(async move {
            Box::pin(control::register(self.client, &self.args, self.names, roots, drain)).await;
        });
        Some(serving)
    }
}

struct Servers {
    settings: Source,
    files: Option<Credential>,
    log: log::Handle,
    readiness: Readiness,
}

impl Servers {
    async fn run(self, listener: TcpListener, admin: TcpListener, drain: CancellationToken) {
        let registry = metrics::registry("injector", env!("CARGO_PKG_VERSION"));
        let serving = self.readiness.wait_for("certificate");
        let build = Build { component: "injector", version: env!("CARGO_PKG_VERSION") };
        let (settings, cluster) = match self.settings {
            Source::Own(settings) => (watch::channel(settings).1, None),
            Source::Cluster(cluster) => (cluster.follow(&self.readiness, &drain), Some(cluster)),
        };
        let webhook = webhook::router(settings, Counters::new(&registry));
        let pages = admin::router(AdminState { readiness: self.readiness, registry, log: self.log, build });
        tracing::info!(
            webhook = listener.local_addr().ok().map(tracing::field::display),
            admin = admin.local_addr().ok().map(tracing::field::display),
            "serving"
        );
        let loaded = self.files.as_ref().map(Credential::watch);
        let reviews = async {
            let tls = match (loaded, cluster) {
                (Some(loaded), _) => Some(loaded),
                (None, Some(cluster)) => cluster.enroll(&drain).await,
                (None, None) => None,
            };
            let Some(tls) = tls else { return };
            serving.done();
            serve::https(listener, webhook, tls, drain.clone()).await;
        };
        let follow = async {
            if let Some(files) = self.files {
                files.follow(drain.clone()).await;
            }
        };
        tokio::join!(reviews, serve::http(admin, pages, drain.clone()), follow);
    }
}

/// How long a pod of a cluster that ends still accepts connections: the API server may not know yet that it ends.
const LAST_REQUESTS: Duration = Duration::from_secs(5);
/// Bytes of a review that are read from standard input. The API server sends at most 3 MiB.
const MAX_REVIEW: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use rustls::{ClientConfig, RootCertStore};
    use rustls_pki_types::{CertificateDer, ServerName};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    struct Running {
        webhook: SocketAddr,
        admin: SocketAddr,
        root: CertificateDer<'static>,
        drain: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start() -> Running {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        let made = rcgen::generate_simple_self_signed(["ostria-injector".to_owned()]).unwrap();
        fs::write(&files.certificate, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let credential = Credential::load(files).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (listener, admin) =
            (TcpListener::bind(any).await.unwrap(), TcpListener::bind(any).await.unwrap());
        let (webhook, admin_address) = (listener.local_addr().unwrap(), admin.local_addr().unwrap());
        let servers = Servers {
            settings: Source::Own(Arc::default()),
            files: Some(credential),
            log: log::init("info", Format::Text),
            readiness: Readiness::new(),
        };
        let drain = CancellationToken::new();
        let task = tokio::spawn(servers.run(listener, admin, drain.clone()));
        Running { webhook, admin: admin_address, root: made.cert.der().clone(), drain, task }
    }

    async fn exchange(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        // The peer may close the connection without a TLS close_notify.
        let _ = stream.read_to_end(&mut response).await;
        String::from_utf8(response).unwrap()
    }

    #[tokio::test]
    async fn a_review_over_https_gets_a_response_is_counted_and_the_process_drains() {
        let running = start().await;
        let mut roots = RootCertStore::empty();
        roots.add(running.root.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(api::process::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("ostria-injector").unwrap();
        let stream = TcpStream::connect(running.webhook).await.unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        let body = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"7",
            "kind":{"kind":"Pod"},"operation":"CREATE","object":{"spec":{"containers":[{"name":"a"}]}}}}"#;
        let length = body.len();
        let head = "POST /inject?timeout=10s HTTP/1.1\r\nhost: ostria-injector\r\nconnection: close\r\n";
        let rest = format!("content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
        let response = exchange(stream, &format!("{head}{rest}")).await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        assert!(
            response.contains(r#""uid":"7""#) && response.contains(r#""patchType":"JSONPatch""#),
            "{response}"
        );
        for (path, part) in [("/metrics", "sidecar_injection_success_total 1"), ("/readyz", "HTTP/1.1 200")] {
            let stream = TcpStream::connect(running.admin).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            let response = exchange(stream, &request).await;
            assert!(response.contains(part), "{path}: {response}");
        }
        running.drain.cancel();
        running.task.await.unwrap();
        assert!(TcpStream::connect(running.webhook).await.is_err());
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_flag_that_moves_it() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let message = listen(taken.local_addr().unwrap(), "--port").await.unwrap_err().to_string();
        assert!(
            message.contains(&taken.local_addr().unwrap().to_string()) && message.contains("--port"),
            "{message}"
        );
    }

    #[test]
    fn startup_errors_name_the_file_and_the_flag() {
        let run = |flags: &[&str]| {
            let words = ["ostria-injector", "--tls-cert", "/nonexistent/tls.crt", "--tls-key", "k"];
            let args = Args::parse_from(words.iter().chain(flags));
            format!("{:#}", run(&args).unwrap_err())
        };
        let message = run(&[]);
        assert!(message.contains("/nonexistent/tls.crt") && message.contains("--tls-cert"), "{message}");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "defaultConfig: {interceptionMode: TPROXY}").unwrap();
        let message = run(&["--config", file.path().to_str().unwrap()]);
        assert!(
            message.contains("--config") && message.contains("defaultConfig.interceptionMode"),
            "{message}"
        );
        let message = run(&["--config", "/nonexistent/mesh.yaml"]);
        assert!(message.contains("/nonexistent/mesh.yaml") && message.contains("--config"), "{message}");
    }
}
