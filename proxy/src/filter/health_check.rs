//! Pure. Responds to health checks of the proxy, or marks the upstream's responses to them with the proxy's own service
//! cluster, from which a checker sees that it has reached the right service.

use super::step::{Answered, Asked, Kept, ResponseStep, Step};
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

/// The request is a health check.
struct Checked;

impl HealthCheck {
    /// Compiles the conditions.
    pub fn compile(from: &model::HealthCheck) -> Result<Self, InvalidConfig> {
        let headers = from.headers.iter().map(HeaderCondition::compile).collect::<Result<_, _>>()?;
        Ok(Self { headers, pass_through: from.pass_through })
    }

    /// Responds to a health check, unless the upstream does.
    pub fn request(&self, asked: &Asked<'_>, headers: &HeaderMap, kept: &mut Kept) -> Step {
        if !self.headers.iter().all(|condition| condition.matches(&asked.head(headers))) {
            return Step::Next;
        }
        kept.put(Checked);
        if self.pass_through {
            return Step::Next;
        }
        Step::Refuse(Box::new(Refusal::new(200, "", Flags::NONE, "health_check_ok")))
    }
}

/// Marks the response to a health check.
pub fn response(answered: &mut Answered<'_>, kept: &mut Kept) -> ResponseStep {
    if let Some(Checked) = kept.take()
        && let Ok(cluster) = HeaderValue::from_str(&answered.node.cluster)
    {
        answered.headers.insert(CHECKED_CLUSTER, cluster);
    }
    ResponseStep::Next
}

const CHECKED_CLUSTER: HeaderName = HeaderName::from_static("x-envoy-upstream-healthchecked-cluster");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::step::tests::asked;
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
            let (mut kept, mut headers) = (Kept::default(), HeaderMap::new());
            let step = asked(|asked| filter.request(&Asked { target, ..asked }, &headers, &mut kept));
            let status = if let Step::Refuse(refusal) = step { Some(refusal.status) } else { None };
            assert_eq!(status, refused.then_some(200), "{model:?} {target}");
            let node = Node { cluster: "reviews.default".into(), ..Node::anonymous() };
            let (status, ends, count) = (StatusCode::OK, true, &|_: super::super::step::Stat<'_>| {});
            let mut answered = Answered { status: &status, headers: &mut headers, ends, node: &node, count };
            assert_eq!(response(&mut answered, &mut kept), ResponseStep::Next);
            let expected = marked.then(|| HeaderValue::from_static("reviews.default"));
            assert_eq!(headers.get(CHECKED_CLUSTER), expected.as_ref(), "{model:?} {target}");
        }
    }
}
