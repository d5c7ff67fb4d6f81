//! Pure. Combines the injector's own settings with those of the cluster: its mesh configuration, the version of its API
//! server, and the Pod Security Standards that its namespaces enforce. A mesh configuration that is not valid leaves the
//! last valid one in force.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::version::Info;
use serde_json::{Map, Value};

use crate::{
    config::{Args, Settings, Standard},
    render::proxy_config,
};

/// What is known of the cluster.
pub struct Observed {
    args: Args,
    /// The settings of the file and the flags.
    own: Settings,
    mesh: MeshConfig,
    standards: BTreeMap<String, Standard>,
    /// The namespaces of a list that is not complete yet.
    listing: Option<BTreeMap<String, Standard>>,
}

/// The parts of MeshConfig that the injector reads.
#[derive(Debug, Clone, Default, PartialEq)]
struct MeshConfig {
    trust_domain: Option<String>,
    merge_metrics: Option<bool>,
    default_config: Map<String, Value>,
}

impl Observed {
    /// A cluster of which only the version is known: where `own` does not say, sidecars are native if the version runs
    /// such.
    pub fn new(args: Args, mut own: Settings, version: &Info) -> Self {
        let native = own.template.native_sidecar.unwrap_or_else(|| runs_native_sidecars(version));
        own.template.native_sidecar = Some(native);
        Self { args, own, mesh: MeshConfig::default(), standards: BTreeMap::new(), listing: None }
    }

    /// Reads the mesh configuration, the text of a ConfigMap's key `mesh`; `None` if there is none. Returns the fields
    /// that have no effect.
    pub fn mesh(&mut self, text: Option<&str>) -> Result<Vec<String>, String> {
        self.mesh = text.map(MeshConfig::parse).transpose()?.unwrap_or_default();
        Ok(proxy_config::unsupported(&self.mesh.default_config).map(ToOwned::to_owned).collect())
    }

    /// Notes the labels of a namespace.
    pub fn namespace(&mut self, name: &str, labels: &BTreeMap<String, String>) {
        let standards = self.listing.as_mut().unwrap_or(&mut self.standards);
        match enforced(labels) {
            Some(standard) => standards.insert(name.to_owned(), standard),
            None => standards.remove(name),
        };
    }

    /// Forgets a namespace.
    pub fn no_namespace(&mut self, name: &str) {
        self.standards.remove(name);
    }

    /// Begins a list of all namespaces, which replaces what is known when it is complete.
    pub fn begin_namespaces(&mut self) {
        self.listing = Some(BTreeMap::new());
    }

    /// Ends a list of all namespaces.
    pub fn end_namespaces(&mut self) {
        self.standards = self.listing.take().unwrap_or_default();
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        let mut settings = self.own.clone();
        let template = &mut settings.template;
        if let Some(domain) = &self.mesh.trust_domain {
            template.trust_domain.clone_from(domain);
        }
        template.merge_metrics = self.mesh.merge_metrics.unwrap_or(template.merge_metrics);
        proxy_config::merge(&mut template.default_config, self.mesh.default_config.clone());
        settings.apply(&self.args);
        settings.standards = Arc::new(self.standards.clone());
        settings
    }
}

impl MeshConfig {
    fn parse(text: &str) -> Result<Self, String> {
        let document: Option<Map<String, Value>> =
            serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string())?;
        let mut document = document.unwrap_or_default();
        let mut field = |name: &str| document.remove(name).filter(|value| !value.is_null());
        let trust_domain = match field("trustDomain") {
            None => None,
            Some(Value::String(domain)) => Some(domain).filter(|domain| !domain.is_empty()),
            Some(other) => return Err(format!("trustDomain: must be text, not {other}")),
        };
        let merge_metrics = match field("enablePrometheusMerge") {
            None => None,
            Some(Value::Bool(merge)) => Some(merge),
            Some(other) => return Err(format!("enablePrometheusMerge: must be true or false, not {other}")),
        };
        let default_config = match field("defaultConfig") {
            None => Map::new(),
            Some(Value::Object(fields)) => fields,
            Some(other) => return Err(format!("defaultConfig: must be an object of fields, not {other}")),
        };
        let mut default_config =
            proxy_config::checked(default_config).map_err(|reason| format!("defaultConfig.{reason}"))?;
        // Another control plane's, if it shares the ConfigMap. Each names its own in its settings.
        default_config.remove("discoveryAddress");
        Ok(Self { trust_domain, merge_metrics, default_config })
    }
}

/// Whether an API server of this version runs native sidecars without a feature gate: from 1.29.
fn runs_native_sidecars(version: &Info) -> bool {
    // A distribution may append to the number: "29+".
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().unwrap_or_default()
    };
    (number(&version.major), number(&version.minor)) >= (1, 29)
}

/// The standard that a namespace enforces, if pods may not add capabilities under it.
fn enforced(labels: &BTreeMap<String, String>) -> Option<Standard> {
    match labels.get("pod-security.kubernetes.io/enforce")?.as_str() {
        "baseline" => Some(Standard::Baseline),
        "restricted" => Some(Standard::Restricted),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::json;

    fn observed(flags: &[&str], own: Settings, minor: &str) -> Observed {
        let args = Args::parse_from(["ostria-injector", "--kubernetes"].iter().chain(flags));
        let version = Info { major: "1".to_owned(), minor: minor.to_owned(), ..Info::default() };
        Observed::new(args, own, &version)
    }

    #[test]
    fn sidecars_are_native_where_the_api_server_runs_such_unless_the_file_says() {
        for (own, minor, native) in [
            (None, "28", false),
            (None, "29", true),
            (None, "29+", true),
            (None, "34", true),
            (None, "100", true),
            (None, "", false),
            (Some(true), "28", true),
            (Some(false), "34", false),
        ] {
            let mut settings = Settings::default();
            settings.template.native_sidecar = own;
            let settings = observed(&[], settings, minor).settings();
            assert_eq!(settings.template.native_sidecar, Some(native), "{own:?} {minor}");
        }
    }

    #[test]
    fn the_mesh_configuration_lies_over_the_file_and_under_the_flags() {
        let mut own = Settings::default();
        own.template.default_config =
            json!({"discoveryAddress": "own:1", "concurrency": 1, "proxyMetadata": {"A": "1"}})
                .as_object()
                .unwrap()
                .clone();
        let mut observed = observed(&["--trust-domain", "flag.example"], own, "34");
        let text = "trustDomain: mesh.example\nenablePrometheusMerge: false\naccessLogFile: /dev/stdout\n\
                    defaultConfig:\n  discoveryAddress: istiod.istio-system.svc:15012\n  concurrency: 2\n  \
                    proxyMetadata: {B: \"2\"}\n  tracing: {sampling: 1}\n";
        assert_eq!(observed.mesh(Some(text)).unwrap(), ["tracing"]);
        let settings = observed.settings();
        assert_eq!(settings.template.trust_domain, "flag.example");
        assert!(!settings.template.merge_metrics);
        assert_eq!(
            Value::Object(settings.template.default_config),
            json!({
                "discoveryAddress": "own:1", "concurrency": 2, "proxyMetadata": {"A": "1", "B": "2"},
                "tracing": {"sampling": 1},
            })
        );
        assert_eq!(observed.mesh(None).unwrap(), [""; 0]);
        assert!(
            observed.settings().template.merge_metrics,
            "what the mesh configuration omits has its default"
        );
    }

    #[test]
    fn a_mesh_configuration_that_is_not_valid_is_named_and_changes_nothing() {
        let mut observed = observed(&[], Settings::default(), "34");
        observed.mesh(Some("defaultConfig: {concurrency: 3}")).unwrap();
        let before = observed.settings();
        for (text, part) in [
            ("defaultConfig: {concurrency: many}", "defaultConfig.concurrency"),
            ("defaultConfig: {concurency: 1}", "defaultConfig.concurency"),
            ("defaultConfig: text", "defaultConfig: must be"),
            ("enablePrometheusMerge: often", "enablePrometheusMerge: must be"),
            ("trustDomain: [a]", "trustDomain: must be"),
            ("a: [", "line"),
        ] {
            let message = observed.mesh(Some(text)).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
            assert_eq!(observed.settings(), before, "{text}");
        }
    }

    #[test]
    fn namespaces_that_enforce_a_standard_are_known_while_they_do() {
        let mut observed = observed(&[], Settings::default(), "34");
        let labels =
            |level: &str| [("pod-security.kubernetes.io/enforce".to_owned(), level.to_owned())].into();
        for (level, standard) in [
            ("restricted", Some(Standard::Restricted)),
            ("privileged", None),
            ("baseline", Some(Standard::Baseline)),
            ("other", None),
        ] {
            observed.namespace("shop", &labels(level));
            assert_eq!(observed.settings().standards.get("shop").copied(), standard, "{level}");
        }
        for name in ["shop", "bank"] {
            observed.namespace(name, &labels("restricted"));
        }
        observed.no_namespace("shop");
        observed.begin_namespaces();
        observed.namespace("mail", &labels("baseline"));
        let names = |observed: &Observed| observed.settings().standards.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&observed), ["bank"], "a list counts when it is complete");
        observed.end_namespaces();
        assert_eq!(names(&observed), ["mail"]);
    }
}
