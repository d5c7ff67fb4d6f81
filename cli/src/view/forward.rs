//! Pure. Finds the port of a pod that `port-forward` connects to: by number or name, of the pod or of a service that
//! selects it.

use std::str::FromStr;

use serde_json::Value;

/// A port argument: `[LOCAL:]REMOTE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The port on this host; 0 for any free port.
    pub local: u16,
    /// The number or name of the remote port.
    pub remote: String,
}

/// Why a port argument cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The text does not have the form `[LOCAL:]REMOTE`.
    #[error("invalid port format '{0}'")]
    Malformed(String),
    /// The service has no such port.
    #[error("service {service} does not have a service port {port}")]
    NotOfService {
        /// The service.
        service: String,
        /// The port as the user typed it.
        port: String,
    },
    /// No container of the pod declares a port of this name.
    #[error("pod {pod} has no port named {port}")]
    NotOfPod {
        /// The pod.
        pod: String,
        /// The name of the port.
        port: String,
    },
}

impl FromStr for Mapping {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let wrong = || PortError::Malformed(text.into());
        let (local, remote) = text.split_once(':').unwrap_or((text, text));
        let is_port = remote.parse::<u16>().map_or_else(|_| is_name(remote), |number| number > 0);
        if !is_port {
            return Err(wrong());
        }
        let local = match local {
            "" => 0,
            // A named port takes the same number on this host. The number is known only once the pod is.
            name if name == remote && name.parse::<u16>().is_err() => 0,
            number => number.parse().map_err(|_| wrong())?,
        };
        Ok(Self { local, remote: remote.into() })
    }
}

fn is_name(text: &str) -> bool {
    api::resource::name::is_label(text) && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Resolves a port argument to the port number of the pod.
pub fn pod_port(pod: &Value, service: Option<&Value>, mapping: &Mapping) -> Result<u16, PortError> {
    let wanted = &mapping.remote;
    let Some(service) = service else { return numbered(pod, wanted) };
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let number = wanted.parse::<u64>().ok();
    let is_it =
        |port: &&Value| port["name"] == **wanted || number.is_some() && port["port"].as_u64() == number;
    let port = ports.into_iter().find(is_it).ok_or_else(|| PortError::NotOfService {
        service: service["metadata"]["name"].as_str().unwrap_or_default().into(),
        port: wanted.clone(),
    })?;
    match &port["targetPort"] {
        Value::String(name) => numbered(pod, name),
        Value::Number(number) => numbered(pod, &number.to_string()),
        _ => numbered(pod, &port["port"].to_string()),
    }
}

fn numbered(pod: &Value, port: &str) -> Result<u16, PortError> {
    if let Ok(number) = port.parse() {
        return Ok(number);
    }
    let list = |field: &str| pod["spec"][field].as_array().into_iter().flatten();
    let ports = list("containers").chain(list("initContainers"));
    let mut ports = ports.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let found = ports.find(|known| known["name"] == *port).and_then(|known| known["containerPort"].as_u64());
    found.and_then(|number| u16::try_from(number).ok()).ok_or_else(|| PortError::NotOfPod {
        pod: pod["metadata"]["name"].as_str().unwrap_or_default().into(),
        port: port.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mappings_are_read_as_kubectl_reads_them() {
        let cases = [
            ("9080", Some((9080, "9080"))),
            ("8080:9080", Some((8080, "9080"))),
            (":9080", Some((0, "9080"))),
            ("0:http", Some((0, "http"))),
            ("http", Some((0, "http"))),
            ("", None),
            ("0", None),
            ("a:b", None),
            ("70000", None),
            ("80:", None),
        ];
        for (text, expected) in cases {
            let found = text.parse::<Mapping>().ok().map(|mapping| (mapping.local, mapping.remote));
            assert_eq!(
                found,
                expected.map(|(local, remote): (u16, &str)| (local, remote.to_string())),
                "{text}"
            );
        }
    }

    #[test]
    fn a_services_port_leads_to_the_pods() {
        let pod = json!({"metadata": {"name": "p"},
            "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 9080}]}]}});
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [
            {"name": "http", "port": 80, "targetPort": "web"}, {"port": 81, "targetPort": 9081}, {"port": 82}]}});
        let port = |service: Option<&Value>, remote: &str| {
            pod_port(&pod, service, &Mapping { local: 0, remote: remote.into() })
        };
        for (remote, expected) in [("80", 9080), ("http", 9080), ("81", 9081), ("82", 82)] {
            assert_eq!(port(Some(&service), remote), Ok(expected), "{remote}");
        }
        assert_eq!(port(None, "web"), Ok(9080));
        assert_eq!(port(None, "7"), Ok(7));
        assert!(port(None, "none").is_err());
        assert!(port(Some(&service), "9080").is_err());
    }
}
