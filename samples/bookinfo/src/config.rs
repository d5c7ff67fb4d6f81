//! Settings of one service: flags first, then the environment variables the well-known sample uses.
//!
//! Raw arguments become a `Config` in one step, so nothing else reads flags or the environment.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Which of the four services this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The page, and the JSON API behind it.
    Productpage,
    /// Facts about a book.
    Details,
    /// Reviews of a book: v1 without stars, v2 with black ones, v3 with red ones.
    Reviews,
    /// Stars that reviewers gave.
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
    /// Which service to be
    role: Role,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 9080)]
    port: u16,
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    address: IpAddr,
    /// Version to be: reviews v1 has no stars, v2 black stars, v3 red stars
    #[arg(long, env = "SERVICE_VERSION", default_value = "v1")]
    version: String,
    /// Reviews: ask ratings for stars, whatever the version says
    #[arg(long, env = "ENABLE_RATINGS")]
    enable_ratings: Option<bool>,
    /// Reviews: colour of the stars, whatever the version says
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
    /// Name of the pod, shown in answers
    #[arg(long, env = "POD_NAME")]
    pod_name: Option<String>,
    /// Name of the machine, shown where no pod name is known
    #[arg(long, env = "HOSTNAME", hide = true)]
    hostname: Option<String>,
    /// Name of the cluster, shown in answers
    #[arg(long, env = "CLUSTER_NAME")]
    cluster_name: Option<String>,
    /// Milliseconds to go on accepting after SIGTERM, until callers have heard that this pod leaves
    #[arg(long, env = "SHUTDOWN_DELAY_MS", default_value_t = 1000)]
    shutdown_delay_ms: u64,
}

/// What one service needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which service to be.
    pub role: Role,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Version label, as `v2`.
    pub version: String,
    /// Name of the pod, or the best substitute.
    pub pod: String,
    /// Name of the cluster, if told.
    pub cluster: Option<String>,
    /// Colour of the stars; without one, ratings are never asked.
    pub stars: Option<String>,
    /// The other services.
    pub peers: Peers,
    /// How long to go on accepting after SIGTERM.
    pub shutdown_delay: Duration,
}

/// Addresses of the other services, as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// Facts about a book.
    pub details: String,
    /// Reviews of a book.
    pub reviews: String,
    /// Stars of reviewers.
    pub ratings: String,
}

/// An environment variable or flag that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {value:?} is not a host name and port; set it to a name such as \"reviews\"")]
pub struct BadPeer {
    flag: &'static str,
    value: String,
}

impl Arguments {
    /// Turns flags into settings, or says which one is wrong.
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

/// v2 has black stars and v3 red ones; the two settings of the well-known sample win.
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
    fn version_decides_the_stars_unless_told_otherwise() {
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
        let told = ["productpage", "--services-domain", "shop.svc.cluster.local", "--details-port", "80"];
        let peers = config(&told).expect("good settings").peers;
        assert_eq!(peers.details, "details.shop.svc.cluster.local:80");
        assert_eq!(peers.reviews, "reviews.shop.svc.cluster.local:9080");
    }

    #[test]
    fn a_host_that_is_no_host_is_refused_by_name() {
        for host in ["", "a b", "user@host", "http://reviews"] {
            let error = config(&["productpage", "--reviews-hostname", host]).expect_err(host);
            assert!(error.to_string().contains("REVIEWS_HOSTNAME"), "{error}");
        }
    }
}
