//! Pure. Responds to health checks of the proxy, or lets the upstream respond. Adds the proxy's service cluster to the
//! response, which shows a checker that it has reached the right service.

use super::step::{FilterState, RequestView, ResponseStep, ResponseView, Step};
use crate::flow::flags::Flags;
use crate::flow::refusal::Refusal;
use crate::matcher::{HeaderCondition, InvalidConfig};
use api::model::filter::health_check as model;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The compiled settings.
#[derive(Debug)]
pub struct HealthCheck {
    headers: Box<[HeaderCondition]>,
    pass_through: bool,
}

/// State of a request that is a health check.
struct IsHealthCheck;

impl HealthCheck {
    /// Compiles the conditions.
    pub fn compile(from: &model::HealthCheck) -> Result<Self, InvalidConfig> {
        let headers = from.headers.iter().map(HeaderCondition::compile).collect::<Result<_, _>>()?;
        Ok(Self { headers, pass_through: from.pass_through })
    }

    /// Responds to a health check, unless the upstream does.
    pub fn request(&self, request: &RequestView<'_>, headers: &HeaderMap, state: &mut FilterState) -> Step {
        if !self.headers.iter().all(|condition| condition.matches(&request.head(headers))) {
            return Step::Next;
        }
        state.put(IsHealthCheck);
        if self.pass_through {
            return Step::Next;
        }
        Step::Refuse(Box::new(Refusal::new(200, "", Flags::NONE, "health_check_ok")))
    }
}

/// Marks the response to a health check.
pub fn response(response: &mut ResponseView<'_>, state: &mut FilterState) -> ResponseStep {
    if let Some(IsHealthCheck) = state.take()
        && let Ok(cluster) = HeaderValue::from_str(&response.node.cluster)
    {
        response.headers.insert(CHECKED_CLUSTER, cluster);
    }
    ResponseStep::Next
}

const CHECKED_CLUSTER: HeaderName = HeaderName::from_static("x-envoy-upstream-healthchecked-cluster");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::step::tests::with_request;
    use crate::flow::node::Node;
    use api::model::matcher::{HeaderMatch, HeaderTest, StringMatch};
    use http::StatusCode;

    #[test]
    fn requests_for_which_all_conditions_hold_are_health_checks() {
        let header = |name: &str, value: &str| HeaderMatch {
            name: name.into(),
            test: HeaderTest::Text(StringMatch::exact(value)),
            invert: false,
            missing_as_empty: false,
        };
        let path = header(":path", "/healthz");
        let both = vec![path.clone(), header("x-check", "1")];
        for (conditions, pass_through, target, refused, marked) in [
            (vec![path.clone()], false, "/healthz", true, true),
            (vec![path.clone()], true, "/healthz", false, true),
            (vec![path.clone()], false, "/healthz?", false, false),
            (vec![path], false, "/", false, false),
            (both, false, "/healthz", false, false),
            (vec![], false, "/", true, true),
        ] {
            let model = model::HealthCheck { headers: conditions, pass_through };
            let filter = HealthCheck::compile(&model).unwrap();
            let (mut state, mut headers) = (FilterState::default(), HeaderMap::new());
            let step =
                with_request(|view| filter.request(&RequestView { target, ..view }, &headers, &mut state));
            let status = if let Step::Refuse(refusal) = step { Some(refusal.status) } else { None };
            assert_eq!(status, refused.then_some(200), "{model:?} {target}");
            let node = Node { cluster: "reviews.default".into(), ..Node::anonymous() };
            let (status, ends, count) = (StatusCode::OK, true, &|_: super::super::step::Stat<'_>| {});
            let mut view = ResponseView { status: &status, headers: &mut headers, ends, node: &node, count };
            assert_eq!(response(&mut view, &mut state), ResponseStep::Next);
            let expected = marked.then(|| HeaderValue::from_static("reviews.default"));
            assert_eq!(headers.get(CHECKED_CLUSTER), expected.as_ref(), "{model:?} {target}");
        }
    }
}
