//! Pure. Applies header changes of the chosen cluster, the route, its virtual host and the route table. The table
//! decides which level is applied last.

use crate::format::context::Context;
use crate::format::mutation::Mutations;
use crate::snapshot::table::{Route, RouteTable, VirtualHost, Weighted};
use http::{HeaderMap, header};

/// The levels that header changes come from.
#[derive(Clone, Copy)]
pub(super) struct Levels<'a> {
    pub(super) table: &'a RouteTable,
    pub(super) host: &'a VirtualHost,
    pub(super) route: &'a Route,
}

/// A request's route, and facts about the request.
#[derive(Clone, Copy)]
pub(super) struct MatchedRoute<'a> {
    pub(super) levels: Levels<'a>,
    /// The values for operators in response headers. Holds the request's original headers, if an operator refers to
    /// them.
    pub(super) context: &'a Context<'a>,
    pub(super) scheme: &'static str,
    /// Whether the request may have `x-envoy-` headers of an internal client or of a filter. Those of other clients were
    /// removed.
    pub(super) instructed: bool,
}

impl Levels<'_> {
    /// Whether changes to the response refer to headers of the request.
    pub(super) fn response_needs_request(&self) -> bool {
        let levels =
            [&self.route.response_headers, &self.host.response_headers, &self.table.response_headers];
        let weighted = match &self.route.action {
            crate::snapshot::table::Action::Forward(forward) => match &forward.clusters {
                crate::snapshot::table::Clusters::Weighted(_, list) => &list[..],
                _ => &[],
            },
            _ => &[],
        };
        levels.into_iter().chain(weighted.iter().map(|w| &w.response_headers)).any(Mutations::needs_request)
    }

    /// Changes a request's headers. Returns whether there were any changes to apply.
    pub(super) fn apply_to_request(
        &self,
        weighted: Option<&Weighted>,
        headers: &mut HeaderMap,
        context: &Context<'_>,
    ) -> bool {
        let mut any = false;
        let levels = [
            weighted.map(|w| &w.request_headers),
            Some(&self.route.request_headers),
            Some(&self.host.request_headers),
            Some(&self.table.request_headers),
        ];
        for mutations in self.ordered(levels) {
            mutations.apply_to_request(headers, context);
            any = true;
        }
        any
    }

    /// Changes a response's headers.
    pub(super) fn apply_to_response(
        &self,
        weighted: Option<&Weighted>,
        headers: &mut HeaderMap,
        context: &Context<'_>,
    ) {
        let levels = [
            weighted.map(|w| &w.response_headers),
            Some(&self.route.response_headers),
            Some(&self.host.response_headers),
            Some(&self.table.response_headers),
        ];
        for mutations in self.ordered(levels) {
            mutations.apply_to_response(headers, context);
        }
    }

    /// Changes the headers of the proxy's own response. As with its status, changes cannot refer to its content type,
    /// which is written afterwards; `text/plain` is written only if no change set another type.
    pub(super) fn apply_to_local_response(
        &self,
        weighted: Option<&Weighted>,
        headers: &mut HeaderMap,
        context: &Context<'_>,
    ) {
        let kind = headers.remove(header::CONTENT_TYPE);
        self.apply_to_response(weighted, headers, context);
        match kind {
            Some(kind) if kind == "text/plain" => {
                headers.entry(header::CONTENT_TYPE).or_insert(kind);
            }
            Some(kind) => {
                headers.insert(header::CONTENT_TYPE, kind);
            }
            None => {}
        }
    }

    /// The levels with any changes, ordered so that the one that must win is applied last.
    fn ordered<'a>(&self, mut levels: [Option<&'a Mutations>; 4]) -> impl Iterator<Item = &'a Mutations> {
        if self.table.most_specific_wins {
            levels.reverse();
        }
        levels.into_iter().flatten().filter(|mutations| !mutations.is_empty())
    }
}
