//! Pure. The settings that all HTTP connection managers share, inbound, outbound and at gateways: path normalization,
//! header timeout, upgrades and access logs.

use crate::catalog::policy::PathNormalization;
use api::model::access_log::AccessLog;
use api::model::listener::{EscapedSlashes, HttpConnection, HttpExtra, RouteSource};
use std::time::Duration;

/// An HTTP connection manager with these settings of the mesh.
pub(super) fn common(
    paths: PathNormalization,
    access_log: &[AccessLog],
    stat_prefix: String,
    routes: RouteSource,
) -> HttpConnection {
    let decode = paths == PathNormalization::DecodeAndMergeSlashes;
    HttpConnection {
        normalize_path: paths != PathNormalization::None,
        merge_slashes: decode || paths == PathNormalization::MergeSlashes,
        headers_timeout: Some(HEAD),
        stream_idle_timeout: None,
        upgrades: vec!["websocket".into()],
        access_log: access_log.to_vec(),
        extra: HttpExtra {
            escaped_slashes: if decode { EscapedSlashes::Unescape } else { EscapedSlashes::Keep },
            ..HttpExtra::default()
        },
        ..HttpConnection::new(stat_prefix, routes)
    }
}

/// Timeout for receiving the request headers. The mesh sets no stream timeout, so without this one a client could hold
/// a connection with incomplete headers forever.
const HEAD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use PathNormalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None};

    #[test]
    fn each_level_of_normalisation_adds_to_the_one_before() {
        for (paths, normalize, merge, escaped) in [
            (None, false, false, EscapedSlashes::Keep),
            (Base, true, false, EscapedSlashes::Keep),
            (MergeSlashes, true, true, EscapedSlashes::Keep),
            (DecodeAndMergeSlashes, true, true, EscapedSlashes::Unescape),
        ] {
            let made = common(paths, &[], "x".into(), RouteSource::Rds("80".into()));
            let found = (made.normalize_path, made.merge_slashes, made.extra.escaped_slashes);
            assert_eq!(found, (normalize, merge, escaped), "{paths:?}");
            assert_eq!(made.headers_timeout, Some(HEAD));
        }
    }
}
