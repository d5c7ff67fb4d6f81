//! The control plane: citadel, pilot and the injector run as processes in the node's namespace, with the certificates
//! and tokens that Kubernetes would give them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use api::process::enroll::{Authority, EnrollError, enroll};
use api::process::tls::expected::Expected;
use api::resource::check::Given;
use api::resource::document::Problem;
use api::resource::relation::Related;
use api::resource::verdict::{Verdicts, Wait};
use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::beneath::{self, replace_own};
use crate::exchange::{LIMIT, RequestError, exchange};
use crate::failure::Failure;
use crate::kubelet::address::NODE;
use crate::kubelet::token::{self, ISSUER, Subject, UnsignedToken};
use crate::manifest::object::Key;
use crate::up::context::Context;
use crate::up::inject::{HOST, Injector};
use crate::up::progress::Progress;
use crate::up::roots;
use crate::wire::SELF;

/// Why a server of the control plane has no token or certificate.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// No token can be created.
    #[error(transparent)]
    Token(#[from] UnsignedToken),
    /// The trust domain is not valid in a SPIFFE ID.
    #[error("{TRUST_DOMAIN}: {0}")]
    TrustDomain(#[from] api::identity::IdentityError),
    /// Citadel issued no certificate.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// A file cannot be written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// The processes of the control plane.
#[derive(Debug, Default)]
pub struct Plane {
    parts: Vec<Part>,
}

/// One process, with everything needed to restart it.
#[derive(Debug)]
struct Part {
    name: &'static str,
    arguments: Vec<String>,
    child: Child,
}

/// The programs of the control plane. All must be beside `ostria` or on PATH.
pub const PROGRAMS: [&str; 3] = ["ostria-citadel", "ostria-pilot", "ostria-injector"];

impl Plane {
    /// Starts all processes and waits until they are ready.
    pub async fn start(context: &Arc<Context>, level: &str, progress: Progress) -> Result<Self, Failure> {
        let mut plane = Self::default();
        let keys = context.state.private().join("keys");
        std::fs::create_dir_all(&keys).map_err(|error| blocked(&format!("{}: {error}", keys.display())))?;
        let jwks = keys.join("jwks.json");
        context.signer.publish(&jwks).map_err(|error| blocked(&error.to_string()))?;
        plane.citadel(context, &keys, level)?;
        plane.ready("ostria-citadel", CITADEL_HTTP, context).await?;
        let root = keys.join("root-cert.pem");
        let roots = published(&root).await?;
        roots::replace(context, String::from_utf8_lossy(&roots).into_owned());
        progress.step("citadel is ready");
        plane.pilot(context, &keys, level)?;
        plane.injector(context, &keys, level).await?;
        plane.ready("ostria-pilot", PILOT_HTTP, context).await?;
        progress.step("pilot is ready");
        plane.ready("ostria-injector", INJECTOR_HTTP, context).await?;
        progress.step("injector is ready");
        let injector = Injector::new(&roots).map_err(|error| blocked(&error.to_string()))?;
        let _ = context.injector.set(Arc::new(injector));
        tokio::spawn(follow(Arc::clone(context), keys.clone()));
        tokio::spawn(renew(Arc::clone(context), keys));
        Ok(plane)
    }

    /// Process ids, for the lock of the state folder.
    pub fn pids(&self) -> Vec<u32> {
        self.parts.iter().filter_map(|part| part.child.id()).collect()
    }

    /// Ends all processes.
    pub async fn end(mut self) {
        for part in &self.parts {
            if let Some(pid) = part.child.id() {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid.cast_signed()),
                    nix::sys::signal::Signal::SIGTERM,
                );
            }
        }
        for part in &mut self.parts {
            if tokio::time::timeout(Duration::from_secs(1), part.child.wait()).await.is_err() {
                let _ = part.child.kill().await;
            }
        }
    }

    /// Restarts processes that end by themselves. Proxies keep their configuration meanwhile and reconnect.
    pub async fn keep(&mut self, context: &Context, progress: Progress) {
        loop {
            sleep(Duration::from_secs(1)).await;
            for part in &mut self.parts {
                if !matches!(part.child.try_wait(), Ok(Some(_)) | Err(_)) {
                    continue;
                }
                progress.step(&format!(
                    "{} ended and is restarted; see its log in {}",
                    part.name,
                    context.state.logs().display()
                ));
                match command(part.name, &part.arguments, context)
                    .and_then(|mut command| command.spawn().map_err(|error| blocked(&error.to_string())))
                {
                    Ok(child) => part.child = child,
                    Err(failure) => progress.step(&failure.to_string()),
                }
            }
        }
    }

    fn citadel(&mut self, context: &Context, keys: &Path, level: &str) -> Result<(), Failure> {
        let arguments = [
            ("--address", NODE.to_string()),
            ("--port", CITADEL.to_string()),
            ("--http-port", CITADEL_HTTP.to_string()),
            ("--trust-domain", TRUST_DOMAIN.into()),
            ("--root-dir", path(&keys.join("citadel"))),
            ("--publish-root", path(&keys.join("root-cert.pem"))),
            ("--token-issuer", ISSUER.into()),
            ("--token-jwks", path(&keys.join("jwks.json"))),
            ("--token-audience", AUDIENCE.into()),
            (
                "--service-account-dns",
                "istio-system/istiod=istiod.istio-system.svc,istiod.istio-system.svc.cluster.local".into(),
            ),
            ("--service-account-dns", format!("istio-system/ostria-injector={HOST}")),
            ("--log-level", level.into()),
        ];
        self.spawn("ostria-citadel", &arguments, context)
    }

    fn pilot(&mut self, context: &Context, keys: &Path, level: &str) -> Result<(), Failure> {
        let file = keys.join("pilot-token");
        write_token(context, "istiod", &file).map_err(|error| blocked(&error.to_string()))?;
        let arguments = [
            ("--config-dir", path(&context.state.config())),
            ("--address", NODE.to_string()),
            ("--secure-grpc-port", "15012".into()),
            ("--http-port", PILOT_HTTP.to_string()),
            ("--ca-address", format!("{NODE}:{CITADEL}")),
            ("--ca-root", path(&keys.join("root-cert.pem"))),
            ("--token-file", path(&file)),
            ("--domain", "cluster.local".into()),
            ("--log-level", level.into()),
        ];
        self.spawn("ostria-pilot", &arguments, context)
    }

    async fn injector(&mut self, context: &Context, keys: &Path, level: &str) -> Result<(), Failure> {
        certify(context, keys)
            .await
            .map_err(|reason| blocked(&format!("the injector has no certificate: {reason}")))?;
        let arguments = [
            ("--address", NODE.to_string()),
            ("--port", crate::up::inject::PORT.to_string()),
            ("--http-port", INJECTOR_HTTP.to_string()),
            ("--tls-cert", path(&keys.join("injector-cert.pem"))),
            ("--tls-key", path(&keys.join("injector-key.pem"))),
            ("--log-level", level.into()),
        ];
        self.spawn("ostria-injector", &arguments, context)
    }

    fn spawn(
        &mut self,
        name: &'static str,
        arguments: &[(&str, String)],
        context: &Context,
    ) -> Result<(), Failure> {
        let arguments: Vec<String> =
            arguments.iter().flat_map(|(flag, value)| [(*flag).to_string(), value.clone()]).collect();
        let child = command(name, &arguments, context)?.spawn();
        let child = child.map_err(|error| blocked(&format!("{name} cannot be started: {error}")))?;
        self.parts.push(Part { name, arguments, child });
        Ok(())
    }

    async fn ready(&mut self, name: &str, port: u16, context: &Context) -> Result<(), Failure> {
        for _ in 0..PATIENCE {
            if request(port, http::Method::GET, "/readyz", None).await.is_ok() {
                return Ok(());
            }
            let part = self.parts.iter_mut().find(|part| part.name == name);
            if let Some(part) = part
                && matches!(part.child.try_wait(), Ok(Some(_)))
            {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        let log =
            std::fs::read_to_string(context.state.logs().join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n  ");
        Err(Failure::blocked(format!("{name} did not become ready; its log ends with\n  {last}"), NEXT))
    }
}

/// The command of a process, with its output appended to its log file.
fn command(name: &str, arguments: &[String], context: &Context) -> Result<Command, Failure> {
    let program = context.program(name).unwrap_or_else(|| PathBuf::from(name));
    let folder = context.state.logs();
    let file = folder.join(format!("{name}.log"));
    let log = std::fs::create_dir_all(&folder)
        .and_then(|()| beneath::append(&file))
        .map_err(|error| blocked(&format!("{}: {error}", file.display())))?;
    let errors = log.try_clone().map_err(|error| blocked(&error.to_string()))?;
    let mut command = Command::new(SELF);
    command
        .args(["guard", "--parent", &std::process::id().to_string(), "--"])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// Asks pilot to validate objects. Returns the errors and the warnings.
pub async fn validate(objects: &[Given]) -> Result<(Vec<Problem>, Vec<Problem>), RequestError> {
    let body = serde_json::to_vec(&json!({"objects": objects}))?;
    let response = request(PILOT_HTTP, http::Method::POST, "/debug/validate", Some(body)).await?;
    let response: api::resource::check::CheckResponse = serde_json::from_slice(&response)?;
    Ok((response.errors, response.warnings))
}

/// The verdicts of pilot and its proxies on objects, once all are settled or the time of the request is over.
pub async fn settle(wait: &Wait) -> Result<Verdicts, RequestError> {
    // Kept below the timeout of each request.
    let wait = Wait { milliseconds: wait.milliseconds.min(SETTLE_LIMIT), ..wait.clone() };
    let body = serde_json::to_vec(&wait)?;
    let response = request(PILOT_HTTP, http::Method::POST, "/debug/verdicts", Some(body)).await?;
    Ok(serde_json::from_slice(&response)?)
}

/// The verdicts of pilot and its proxies on the objects of a kind in a namespace; in all namespaces if none is given.
pub async fn verdicts(kind: &str, namespace: Option<&str>) -> Result<Verdicts, RequestError> {
    let place = namespace.map(|namespace| format!("&namespace={namespace}")).unwrap_or_default();
    let path = format!("/debug/verdicts?kind={kind}{place}");
    Ok(serde_json::from_slice(&request(PILOT_HTTP, http::Method::GET, &path, None).await?)?)
}

/// The objects that pilot knows to be related to an object.
pub async fn relations(key: &Key) -> Result<Vec<Related>, RequestError> {
    let Key { group, kind, namespace, name } = key;
    let path = format!("/debug/relations?group={group}&kind={kind}&namespace={namespace}&name={name}");
    Ok(serde_json::from_slice(&request(PILOT_HTTP, http::Method::GET, &path, None).await?)?)
}

/// The configuration that pilot holds for the proxy of a pod, in the format of Envoy's `/config_dump`, without keys.
pub async fn config_dump(namespace: &str, pod: &str) -> Result<Bytes, RequestError> {
    let path = format!("/debug/config_dump?proxyID={pod}.{namespace}");
    request(PILOT_HTTP, http::Method::GET, &path, None).await
}

/// For each proxy, whether it has the current configuration, as pilot reports it.
pub async fn sync() -> Value {
    let response = request(PILOT_HTTP, http::Method::GET, "/debug/syncz", None).await.ok();
    response.and_then(|response| serde_json::from_slice(&response).ok()).unwrap_or(Value::Null)
}

/// The objects that pilot refuses, and its warnings about objects in force; empty while pilot does not respond.
pub async fn findings() -> (Vec<Problem>, Vec<Problem>) {
    #[derive(Default, serde::Deserialize)]
    struct Objects {
        refused: Vec<Problem>,
        warnings: Vec<Problem>,
    }
    let response = request(PILOT_HTTP, http::Method::GET, "/debug/configz", None).await.ok();
    let objects = response.and_then(|response| serde_json::from_slice::<Objects>(&response).ok());
    // The file names are of pilot's own folder, which users do not edit.
    let nameless = |found: Vec<Problem>| {
        found.into_iter().map(|problem| Problem { file: String::new(), ..problem }).collect()
    };
    let Objects { refused, warnings } = objects.unwrap_or_default();
    (nameless(refused), nameless(warnings))
}

/// Whether pilot has these pods (namespace and name) as ready, and every proxy has acknowledged the current
/// configuration.
pub async fn knows(pods: &[(String, String)]) -> bool {
    let known = request(PILOT_HTTP, http::Method::GET, "/debug/instancesz", None).await.ok();
    let known: Vec<Value> = known.and_then(|k| serde_json::from_slice(&k).ok()).unwrap_or_default();
    let is_known = |(namespace, name): &(String, String)| {
        known.iter().any(|w| w["namespace"] == **namespace && w["name"] == **name && w["ready"] == true)
    };
    pods.iter().all(is_known)
        && sync().await.as_array().is_some_and(|proxies| proxies.iter().all(|p| p["in_step"] == true))
}

async fn request(
    port: u16,
    method: http::Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<Bytes, RequestError> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", format!("{NODE}:{port}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .expect("the request is well-formed");
    exchange(LIMIT, async { Ok(TcpStream::connect((NODE, port)).await?) }, request).await
}

/// Gets the injector's certificate from citadel.
async fn certify(context: &Context, keys: &Path) -> Result<(), CredentialError> {
    let token = keys.join("injector-token");
    write_token(context, "ostria-injector", &token)?;
    let domain = TRUST_DOMAIN.parse()?;
    let server = Expected::citadel(&domain)?;
    let authority = Authority {
        address: format!("{NODE}:{CITADEL}"),
        roots: keys.join("root-cert.pem"),
        token: Some(token),
        server,
        cluster_id: "Kubernetes".into(),
        validity: None,
    };
    let issued = enroll(&authority, None).await?;
    secret(&keys.join("injector-key.pem"), &issued.key)?;
    secret(&keys.join("injector-cert.pem"), &issued.chain)
}

/// Renews the tokens and the injector's certificate.
async fn renew(context: Arc<Context>, keys: PathBuf) {
    let mut rounds = 0_u32;
    loop {
        sleep(Duration::from_secs(token::renewal(LIFETIME))).await;
        rounds += 1;
        let mut done = write_token(&context, "istiod", &keys.join("pilot-token"));
        // Twelve hours are half of a certificate's lifetime.
        if rounds.is_multiple_of(ROUNDS_TO_CERTIFICATE) {
            done = done.and(certify(&context, &keys).await);
        }
        if let Err(error) = done {
            tracing::error!(reason = error.to_string(), "the control plane's credentials cannot be renewed");
        }
    }
}

/// When citadel publishes other roots, distributes them and gets the injector a certificate that they verify.
async fn follow(context: Arc<Context>, keys: PathBuf) {
    let file = keys.join("root-cert.pem");
    let mut known = std::fs::read(&file).unwrap_or_default();
    loop {
        sleep(Duration::from_secs(1)).await;
        let found = std::fs::read(&file).unwrap_or_default();
        if found.is_empty() || found == known {
            continue;
        }
        known = found;
        let trusted = context.injector.get().map_or(Ok(()), |injector| injector.trust(&known));
        if let Err(error) = trusted {
            tracing::error!(reason = error.to_string(), "the changed root certificates cannot be used");
            continue;
        }
        roots::replace(&context, String::from_utf8_lossy(&known).into_owned());
        tracing::info!("the root certificates have changed and are sent to pods");
        if let Err(error) = certify(&context, &keys).await {
            tracing::error!(
                reason = error.to_string(),
                "the injector keeps its certificate, which the old root signed"
            );
        }
    }
}

async fn published(root: &Path) -> Result<Vec<u8>, Failure> {
    for _ in 0..PATIENCE {
        match std::fs::read(root) {
            Ok(roots) if !roots.is_empty() => return Ok(roots),
            _ => sleep(Duration::from_millis(10)).await,
        }
    }
    Err(blocked("citadel publishes no root certificate"))
}

fn token_for(context: &Context, account: &str) -> Result<String, UnsignedToken> {
    let subject = Subject { namespace: "istio-system".into(), account: account.into(), pod: None };
    context.signer.token(&subject, AUDIENCE, LIFETIME)
}

fn write_token(context: &Context, account: &str, file: &Path) -> Result<(), CredentialError> {
    secret(file, &token_for(context, account)?)
}

fn secret(file: &Path, text: &str) -> Result<(), CredentialError> {
    replace_own(file, text.as_bytes()).map_err(|source| CredentialError::File { path: file.into(), source })
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn blocked(reason: &str) -> Failure {
    Failure::blocked(format!("the control plane cannot be started: {reason}"), NEXT)
}

/// The trust domain of identities.
pub const TRUST_DOMAIN: &str = "cluster.local";
const NEXT: &str = "correct the problem and run the command again; --log-level debug shows more";
const AUDIENCE: &str = "istio-ca";
/// Citadel's port for certificates.
pub const CITADEL: u16 = 8060;
const CITADEL_HTTP: u16 = 15114;
const PILOT_HTTP: u16 = 15014;
const INJECTOR_HTTP: u16 = 15214;
const LIFETIME: u64 = 3600;
const ROUNDS_TO_CERTIFICATE: u32 = 15;
/// Maximum duration of one long-poll request to pilot, in milliseconds.
const SETTLE_LIMIT: u64 = 5_000;
/// Attempts before a process counts as not ready: about 15 seconds.
const PATIENCE: u32 = 750;
