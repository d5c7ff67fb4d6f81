//! Pure. Parses the mesh's `ProxyConfig` from the variable PROXY_CONFIG: the fields that this proxy acts on.

use super::mistakes::Mistakes;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// The fields of `ProxyConfig` that this proxy acts on.
#[derive(Debug, Clone, Default)]
pub(super) struct ProxyConfig {
    pub(super) discovery_address: Option<String>,
    pub(super) plaintext: bool,
    pub(super) concurrency: Option<usize>,
    pub(super) drain: Option<Duration>,
    pub(super) termination_drain: Option<Duration>,
    pub(super) status_port: Option<u16>,
    pub(super) admin_port: Option<u16>,
    pub(super) service_cluster: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    /// Fields that are given but have no effect.
    pub(super) ignored: Vec<String>,
    /// The unparsed document, for the control plane.
    pub(super) document: Map<String, Value>,
}

impl ProxyConfig {
    pub(super) fn parse(text: Option<&str>, mistakes: &mut Mistakes) -> Self {
        let Some(text) = text else { return Self::default() };
        let document: Map<String, Value> = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(error) => {
                mistakes.add(VARIABLE, format!("is not a JSON object: {error}"));
                return Self::default();
            }
        };
        let mut config = Self::default();
        for (name, value) in &document {
            if let Err(expected) = config.field(name, value) {
                mistakes.add(format!("{VARIABLE}.{name}"), format!("{value} is not {expected}"));
            }
        }
        config.document = document;
        config
    }

    fn field(&mut self, name: &str, value: &Value) -> Result<(), &'static str> {
        match name {
            "discoveryAddress" => self.discovery_address = Some(text(value)?),
            "controlPlaneAuthPolicy" => self.plaintext = text(value)? == "NONE",
            "concurrency" => self.concurrency = Some(number(value)?),
            "drainDuration" => self.drain = Some(duration(value)?),
            "terminationDrainDuration" => self.termination_drain = Some(duration(value)?),
            "statusPort" => self.status_port = Some(number(value)?),
            "proxyAdminPort" => self.admin_port = Some(number(value)?),
            "serviceCluster" => self.service_cluster = Some(text(value)?),
            "proxyMetadata" => self.metadata = words(value)?,
            // Only the injector acts on these.
            "holdApplicationUntilProxyStarts" | "interceptionMode" => {}
            other => self.ignored.push(other.to_owned()),
        }
        Ok(())
    }
}

fn text(value: &Value) -> Result<String, &'static str> {
    value.as_str().map(str::to_owned).ok_or("text")
}

fn number<T: TryFrom<u64>>(value: &Value) -> Result<T, &'static str> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.and_then(|number| T::try_from(number).ok()).ok_or("a whole number in range")
}

fn duration(value: &Value) -> Result<Duration, &'static str> {
    value.as_str().and_then(|text| api::process::duration::parse(text).ok()).ok_or("a duration such as 5s")
}

fn words(value: &Value) -> Result<BTreeMap<String, String>, &'static str> {
    let object = value.as_object().ok_or("an object of names and words")?;
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(object.iter().map(|(name, value)| (name.clone(), word(value))).collect())
}

const VARIABLE: &str = "PROXY_CONFIG";
