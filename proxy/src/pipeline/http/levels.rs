//! Pure. Changes to headers come from the chosen cluster, the route, its virtual host and the table; which of them has
//! the last word is the table's choice.

use crate::snapshot::mutation::Mutations;
use crate::snapshot::table::{Route, RouteTable, VirtualHost, Weighted};
use crate::snapshot::template::Context;
use http::{HeaderMap, header};

/// Where changes may come from.
#[derive(Clone, Copy)]
pub(super) struct Levels<'a> {
    pub(super) table: &'a RouteTable,
    pub(super) host: &'a VirtualHost,
    pub(super) route: &'a Route,
}

/// A request's way through the table, and what is known of it.
pub(super) struct Way<'a> {
    pub(super) levels: Levels<'a>,
    /// For changes to the response: its headers are the request's before any change, where they are needed.
    pub(super) context: &'a Context<'a>,
    pub(super) scheme: &'static str,
    /// The request comes from inside and has `x-envoy-` headers, which are believed.
    pub(super) internal: bool,
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

    /// Changes a request; whether there is anything to change.
    pub(super) fn request(
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

    /// Changes a response.
    pub(super) fn respond(
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

    /// Changes a response of our own. Its kind of text is only set where nothing else is, as its status is, too late for
    /// changes to refer to it.
    pub(super) fn respond_for_us(
        &self,
        weighted: Option<&Weighted>,
        headers: &mut HeaderMap,
        context: &Context<'_>,
    ) {
        let kind = headers.remove(header::CONTENT_TYPE);
        self.respond(weighted, headers, context);
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

    /// Those that change anything, from the most specific to the widest or the other way.
    fn ordered<'a>(&self, mut levels: [Option<&'a Mutations>; 4]) -> impl Iterator<Item = &'a Mutations> {
        if self.table.most_specific_wins {
            levels.reverse();
        }
        levels.into_iter().flatten().filter(|mutations| !mutations.is_empty())
    }
}
