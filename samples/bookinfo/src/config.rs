//! Settings of one service, from flags or else from the environment variables of Istio's sample.
//!
//! Raw arguments become a `Config` in one step. No other code reads flags or the environment.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// The service that this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The HTML page, and the JSON API behind it.
    Productpage,
    /// Details of a book.
    Details,
    /// Reviews of a book: v1 without stars, v2 with black stars, v3 with red stars.
    Reviews,
    /// The reviewers' ratings.
    Ratings,
}

impl Role {
    /// The service's name in Kubernetes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Productpage => "productpage",
            Self::Details => "details",
            Self::Reviews => "reviews",
            Self::Ratings => "ratings",
        }
    }
}

/// Command line of `bookinfo`.
#[derive(Debug, Parser)]
#[command(name = "bookinfo", about = "One service of the Bookinfo sample", disable_version_flag = true)]
pub struct Arguments {
    /// Service to run
    role: Role,
    /// Port to listen on; 0 for any free port
    #[arg(long, default_value_t = 9080)]
    port: u16,
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    address: IpAddr,
    /// Version of the service: reviews v1 has no stars, v2 black stars, v3 red stars
    #[arg(long, env = "SERVICE_VERSION", default_value = "v1")]
    version: String,
    /// Reviews: whether to show stars from ratings, overriding the version
    #[arg(long, env = "ENABLE_RATINGS")]
    enable_ratings: Option<bool>,
    /// Reviews: colour of the stars, overriding the version
    #[arg(long, env = "STAR_COLOR")]
    star_color: Option<String>,
    /// Domain added to the names of the other services
    #[arg(long, env = "SERVICES_DOMAIN", default_value = "")]
    services_domain: String,
    /// Host name of details
    #[arg(long, env = "DETAILS_HOSTNAME", default_value = "details")]
    details_hostname: String,
    /// Port of details
    #[arg(long, env = "DETAILS_SERVICE_PORT", default_value_t = 9080)]
    details_port: u16,
    /// Host name of reviews
    #[arg(long, env = "REVIEWS_HOSTNAME", default_value = "reviews")]
    reviews_hostname: String,
    /// Port of reviews
    #[arg(long, env = "REVIEWS_SERVICE_PORT", default_value_t = 9080)]
    reviews_port: u16,
    /// Host name of ratings
    #[arg(long, env = "RATINGS_HOSTNAME", default_value = "ratings")]
    ratings_hostname: String,
    /// Port of ratings
    #[arg(long, env = "RATINGS_SERVICE_PORT", default_value_t = 9080)]
    ratings_port: u16,
    /// Name of the pod, shown in responses
    #[arg(long, env = "POD_NAME")]
    pod_name: Option<String>,
    /// Name of the machine, shown if there is no pod name
    #[arg(long, env = "HOSTNAME", hide = true)]
    hostname: Option<String>,
    /// Name of the cluster, shown in responses
    #[arg(long, env = "CLUSTER_NAME")]
    cluster_name: Option<String>,
    /// Milliseconds to keep accepting after SIGTERM, until clients know that this pod leaves
    #[arg(long, env = "SHUTDOWN_DELAY_MS", default_value_t = 1000)]
    shutdown_delay_ms: u64,
}

/// Parsed settings of one service.
#[derive(Clone, Debug)]
pub struct Config {
    /// The service to run.
    pub role: Role,
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Version label, such as `v2`.
    pub version: String,
    /// Name of the pod, or else of the machine.
    pub pod: String,
    /// Name of the cluster, if it is known.
    pub cluster: Option<String>,
    /// Colour of the stars. If `None`, `ratings` is never called.
    pub stars: Option<String>,
    /// The other services.
    pub peers: Peers,
    /// How long to keep accepting after SIGTERM.
    pub shutdown_delay: Duration,
}

/// Addresses of the other services, as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// Address of `details`.
    pub details: String,
    /// Address of `reviews`.
    pub reviews: String,
    /// Address of `ratings`.
    pub ratings: String,
}

/// An address in a flag or environment variable is invalid.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {value:?} is not a host name and port; set it to a name such as \"reviews\"")]
pub struct BadPeer {
    flag: &'static str,
    value: String,
}

impl Arguments {
    /// Converts flags to settings, or names the invalid one.
    pub fn into_config(self) -> Result<Config, BadPeer> {
        let domain = self.services_domain.trim().trim_start_matches('.');
        let peer = |flag, host: &str, port| authority(flag, host, domain, port);
        let peers = Peers {
            details: peer("DETAILS_HOSTNAME", &self.details_hostname, self.details_port)?,
            reviews: peer("REVIEWS_HOSTNAME", &self.reviews_hostname, self.reviews_port)?,
            ratings: peer("RATINGS_HOSTNAME", &self.ratings_hostname, self.ratings_port)?,
        };
        let stars = star_color(&self.version, self.enable_ratings, self.star_color);
        let pod = [self.pod_name, self.hostname]
            .into_iter()
            .flatten()
            .find(|name| !name.is_empty())
            .unwrap_or_else(|| format!("{}-{}", self.role.name(), self.version));
        Ok(Config {
            role: self.role,
            listen: SocketAddr::new(self.address, self.port),
            version: self.version,
            pod,
            cluster: self.cluster_name,
            stars,
            peers,
            shutdown_delay: Duration::from_millis(self.shutdown_delay_ms),
        })
    }
}

fn authority(flag: &'static str, host: &str, domain: &str, port: u16) -> Result<String, BadPeer> {
    let dot = if domain.is_empty() { "" } else { "." };
    let text = format!("{host}{dot}{domain}:{port}");
    match text.parse::<http::uri::Authority>() {
        Ok(parsed) if !host.is_empty() && parsed.port_u16().is_some() && !text.contains('@') => Ok(text),
        _ => Err(BadPeer { flag, value: text }),
    }
}

/// The colour of the stars: black for v2 and red for v3, unless a flag overrides it.
fn star_color(version: &str, enabled: Option<bool>, color: Option<String>) -> Option<String> {
    let usual = match version {
        "v2" => Some("black"),
        "v3" => Some("red"),
        _ => None,
    };
    if !enabled.unwrap_or(usual.is_some()) {
        return None;
    }
    color.filter(|color| !color.is_empty()).or_else(|| Some(usual.unwrap_or("black").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, BadPeer> {
        Arguments::try_parse_from([&["bookinfo"], arguments].concat()).expect("known flags").into_config()
    }

    #[test]
    fn the_version_decides_the_stars_unless_configured() {
        let table: &[(&[&str], Option<&str>)] = &[
            (&["reviews"], None),
            (&["reviews", "--version", "v2"], Some("black")),
            (&["reviews", "--version", "v3"], Some("red")),
            (&["reviews", "--version", "v2", "--star-color", "blue"], Some("blue")),
            (&["reviews", "--version", "v2", "--enable-ratings", "false"], None),
            (&["reviews", "--version", "canary", "--enable-ratings", "true"], Some("black")),
        ];
        for (arguments, stars) in table {
            assert_eq!(config(arguments).expect("good settings").stars.as_deref(), *stars, "{arguments:?}");
        }
    }

    #[test]
    fn peers_take_domain_and_port() {
        let arguments =
            ["productpage", "--services-domain", "shop.svc.cluster.local", "--details-port", "80"];
        let peers = config(&arguments).expect("good settings").peers;
        assert_eq!(peers.details, "details.shop.svc.cluster.local:80");
        assert_eq!(peers.reviews, "reviews.shop.svc.cluster.local:9080");
    }

    #[test]
    fn an_invalid_host_is_rejected_by_name() {
        for host in ["", "a b", "user@host", "http://reviews"] {
            let error = config(&["productpage", "--reviews-hostname", host]).expect_err(host);
            assert!(error.to_string().contains("REVIEWS_HOSTNAME"), "{error}");
        }
    }
}
