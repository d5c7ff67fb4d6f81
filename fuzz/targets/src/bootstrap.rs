//! Envoy bootstrap files, YAML or JSON, as the proxy reads them: they are parsed, printed and parsed again, encoded
//! and decoded, and applied.

use crate::{exercise, words, xds};
use api::model::Resource;
use api::wire::json::{Bootstrap, BootstrapError};

/// See the module.
pub fn run(data: &[u8]) {
    let Some(text) = words::text(data) else { return };
    match xds::schema().bootstrap(text) {
        Ok(bootstrap) => accepted(&bootstrap),
        Err(BootstrapError::Refused { reason, .. } | BootstrapError::Syntax(reason)) => {
            assert!(!reason.is_empty(), "a refusal says why");
        }
    }
}

fn accepted(bootstrap: &Bootstrap) {
    printed(bootstrap);
    let clusters = bootstrap.clusters.iter().cloned().map(|c| Resource::Cluster(Box::new(c)));
    let listeners = bootstrap.listeners.iter().cloned().map(Resource::Listener);
    let secrets = bootstrap.secrets.iter().cloned().map(Resource::Secret);
    let all: Vec<Resource> = secrets.chain(clusters).chain(listeners).collect();
    all.iter().for_each(xds::survives_the_wire);
    exercise::apply(all);
}

/// The dump of the admin port can be used as a bootstrap again, except for private keys, which it redacts.
fn printed(bootstrap: &Bootstrap) {
    let json = xds::schema().bootstrap_to_json(bootstrap).to_string();
    if bootstrap.secrets.is_empty() && !format!("{bootstrap:?}").contains("Inline(") {
        let again = xds::schema().bootstrap(&json).unwrap_or_else(|error| panic!("{error}\nin {json}"));
        assert_eq!(*bootstrap, again, "{json}");
    }
}
