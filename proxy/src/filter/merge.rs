//! Pure. The filters of a request: the listener's filters, with the settings that its route, virtual host and route
//! table contain for the filter's name. They are merged when the snapshot is built, so that a request only walks a slice.

use super::table::{EffectiveFilter, ListenerFilter, Override, inherit};
use crate::matcher::InvalidConfig;
use api::model::filter::{FilterOverride, HttpFilter, Setting};
use std::borrow::Cow;
use std::sync::Arc;

/// The compiled filters of a listener. Listeners with equal filters share them.
#[derive(Debug)]
pub struct Filters {
    /// The resources that they were compiled from.
    model: Vec<HttpFilter>,
    listed: Box<[ConfiguredFilter]>,
    /// The filters that have an effect where a route has no settings.
    effective: Box<[EffectiveFilter]>,
}

/// One entry of the listener's filter list.
#[derive(Debug)]
struct ConfiguredFilter {
    name: Box<str>,
    disabled: bool,
    own: ListenerFilter,
}

impl Filters {
    /// Compiles filters.
    pub fn compile(from: &[HttpFilter]) -> Result<Self, InvalidConfig> {
        let mut listed = vec![];
        for (index, filter) in from.iter().enumerate() {
            let own = ListenerFilter::compile(&filter.kind).map_err(|error| {
                InvalidConfig(format!("http_filters[{index}] ({}): {error}", filter.name))
            })?;
            let name = filter.name.as_str().into();
            listed.extend(own.map(|own| ConfiguredFilter { name, disabled: filter.disabled, own }));
        }
        let mut filters = Self { model: from.to_vec(), listed: listed.into(), effective: Box::default() };
        filters.effective = filters.with_overrides(&Overrides::default());
        Ok(filters)
    }

    /// Whether they were compiled from these resources.
    pub fn compiled_from(&self, from: &[HttpFilter]) -> bool {
        self.model == from
    }

    /// The filters that have an effect where a route has no settings.
    pub fn effective(&self) -> &[EffectiveFilter] {
        &self.effective
    }

    fn with_overrides(&self, overrides: &Overrides) -> Box<[EffectiveFilter]> {
        self.listed.iter().filter_map(|filter| filter.with_setting(overrides.of(&filter.name))).collect()
    }
}

impl ConfiguredFilter {
    /// The filter with a route's setting; `None`: it has no effect on the route.
    fn with_setting(&self, setting: Option<&Override>) -> Option<EffectiveFilter> {
        match setting {
            Some(Override::Off) => return None,
            None if self.disabled => return None,
            Some(_) | None => {}
        }
        self.own.with_setting(setting)
    }
}

/// The filter settings of a route, completed by those of its virtual host and route table.
#[derive(Debug, Default)]
pub struct Overrides(Box<[(Box<str>, Override)]>);

impl Overrides {
    /// Compiles the settings of several levels, the most specific first.
    pub fn compile(levels: &[&[FilterOverride]]) -> Result<Self, InvalidConfig> {
        let mut found: Vec<(&str, Cow<'_, Setting>)> = vec![];
        for given in levels.iter().copied().flatten() {
            match found.iter_mut().find(|(name, _)| *name == given.name) {
                Some((_, setting)) => inherit(setting, &given.setting),
                None => found.push((&given.name, Cow::Borrowed(&given.setting))),
            }
        }
        let compiled = found.into_iter().map(|(name, setting)| {
            let setting = Override::compile(&setting)
                .map_err(|error| InvalidConfig(format!("typed_per_filter_config[{name}]: {error}")))?;
            Ok((name.into(), setting))
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    fn of(&self, name: &str) -> Option<&Override> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, setting)| setting)
    }
}

/// A listener's filters, and the same filters under a route's settings.
type Merged = (Arc<Filters>, Box<[EffectiveFilter]>);

/// The filters of a route, for each of the listeners that use its table.
#[derive(Debug, Default)]
pub struct RouteFilters {
    overrides: Arc<Overrides>,
    merged: Box<[Merged]>,
}

impl RouteFilters {
    /// Filters with these settings, before the listeners are known.
    pub fn new(overrides: Arc<Overrides>) -> Self {
        Self { overrides, merged: Box::default() }
    }

    /// Whether the route has no settings, so that every listener's filters stay unchanged.
    pub fn is_plain(&self) -> bool {
        self.overrides.0.is_empty()
    }

    /// Merges the settings with the filters of these listeners.
    pub fn merge(&mut self, listeners: &[Arc<Filters>]) {
        if !self.is_plain() {
            self.merged =
                listeners.iter().map(|of| (of.clone(), of.with_overrides(&self.overrides))).collect();
        }
    }

    /// The filters for a request on a listener. They are merged here only if the listener has changed since the client's
    /// connection was accepted.
    pub fn for_listener<'a>(&'a self, listener: &'a Arc<Filters>) -> Cow<'a, [EffectiveFilter]> {
        if self.is_plain() {
            return Cow::Borrowed(listener.effective());
        }
        match self.merged.iter().find(|(of, _)| Arc::ptr_eq(of, listener)) {
            Some((_, merged)) => Cow::Borrowed(merged),
            None => Cow::Owned(listener.with_overrides(&self.overrides).into_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::model::authorization::{Action, Authorization};
    use api::model::filter::Filter;
    use api::model::filter::fault::{AbortStatus, Fault, FaultAbort};
    use api::model::matcher::Fraction;

    fn abort(status: u16) -> Fault {
        let fraction = Fraction { numerator: 1, denominator: 1 };
        Fault { abort: Some(FaultAbort { status: AbortStatus::Http(status), fraction }), ..Fault::default() }
    }

    fn listed(name: &str, disabled: bool, kind: Filter) -> HttpFilter {
        HttpFilter { name: name.into(), disabled, kind }
    }

    fn given(name: &str, setting: Setting) -> FilterOverride {
        FilterOverride { name: name.into(), setting }
    }

    /// The abort statuses of the filters that run for a request.
    fn abort_statuses(filters: &[HttpFilter], levels: &[&[FilterOverride]]) -> Vec<u16> {
        let filters = Arc::new(Filters::compile(filters).unwrap());
        let mut route = RouteFilters::new(Overrides::compile(levels).unwrap().into());
        let statuses = |filters: &[EffectiveFilter]| -> Vec<u16> {
            let status = |filter: &EffectiveFilter| {
                let EffectiveFilter::Fault(fault) = filter else { return 0 };
                match fault.model.abort.unwrap().status {
                    AbortStatus::Http(status) => status,
                    AbortStatus::Grpc(_) => 0,
                }
            };
            filters.iter().map(status).collect()
        };
        let unmerged = statuses(&route.for_listener(&filters));
        route.merge(std::slice::from_ref(&filters));
        let merged = route.for_listener(&filters);
        assert!(matches!(merged, Cow::Borrowed(_)));
        assert_eq!(statuses(&merged), unmerged);
        unmerged
    }

    #[test]
    fn the_most_specific_level_counts() {
        let filters =
            [listed("a", false, Filter::Fault(abort(500))), listed("b", false, Filter::Fault(abort(501)))];
        let route = [given("a", Setting::Fault(abort(510)))];
        let host = [given("a", Setting::Fault(abort(520))), given("b", Setting::Fault(abort(521)))];
        let table = [given("b", Setting::Fault(abort(531)))];
        for (levels, expected) in [
            ([&[][..], &[], &[]], [500, 501]),
            ([&route[..], &[], &[]], [510, 501]),
            ([&route[..], &host[..], &[]], [510, 521]),
            ([&[], &host[..], &table[..]], [520, 521]),
            ([&[], &[], &table[..]], [500, 531]),
        ] {
            assert_eq!(abort_statuses(&filters, &levels), expected, "{levels:?}");
        }
    }

    #[test]
    fn filters_are_turned_on_and_off_by_name() {
        let filters =
            [listed("a", false, Filter::Fault(abort(500))), listed("b", true, Filter::Fault(abort(501)))];
        let rules = Authorization { action: Action::Deny, policies: vec![], shadow: false };
        for (setting, expected) in [
            (given("a", Setting::Off), vec![]),
            (given("c", Setting::Off), vec![500]),
            (given("b", Setting::Fault(abort(511))), vec![500, 511]),
            // Settings of another kind enable a filter, but cannot change it.
            (given("b", Setting::Rbac(vec![rules])), vec![500, 501]),
            (given("b", Setting::Off), vec![500]),
        ] {
            assert_eq!(abort_statuses(&filters, &[std::slice::from_ref(&setting)]), expected, "{setting:?}");
        }
    }

    #[test]
    fn filters_without_effect_are_left_out() {
        let shadow = Authorization { action: Action::Deny, policies: vec![], shadow: true };
        let kinds = [
            Filter::Fault(Fault::default()),
            Filter::Rbac(vec![]),
            Filter::Rbac(vec![shadow]),
            Filter::Router,
        ];
        assert!(abort_statuses(&kinds.map(HttpFilter::from), &[]).is_empty());
    }
}
