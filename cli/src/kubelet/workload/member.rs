//! Pure. What the controllers share: a workload with its pods, the changes that a controller may ask for, and how a
//! pod is made from a template.

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::kubelet::name;
use crate::manifest::object::{Key, text};

/// The object that a pod was made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid: an object that was deleted and made again is another one.
    pub uid: String,
}

impl Owner {
    /// The owner that an object is.
    pub fn of(object: &Value) -> Self {
        Self {
            kind: text(object, "/kind").into(),
            name: text(object, "/metadata/name").into(),
            uid: text(object, "/metadata/uid").into(),
        }
    }
}

/// A pod that is there.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The object that made it.
    pub owner: Owner,
    /// Hash of the template that it was made from.
    pub revision: String,
    /// Whether it takes traffic.
    pub ready: bool,
    /// When it was made, or turned ready or unready last.
    pub since: OffsetDateTime,
    /// Whether all its containers ended for good, and well.
    pub finished: Option<bool>,
    /// Whether it is on its way out.
    pub leaving: bool,
    /// How often its containers, without sidecars, were started again.
    pub restarts: u64,
    /// Its number among the completions of an indexed Job.
    pub index: Option<u64>,
}

/// One change towards what is wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Make a pod.
    Create {
        /// The pod.
        pod: Value,
        /// What it belongs to.
        owner: Owner,
        /// Hash of its template.
        revision: String,
    },
    /// End a pod.
    Remove {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Delete an object whose time is over.
    Delete(Key),
}

/// Ends a pod.
pub fn remove(pod: &Held) -> Change {
    Change::Remove { namespace: pod.namespace.clone(), name: pod.name.clone() }
}

/// An object that wants pods, and those that it has.
pub struct Workload<'a> {
    /// Its key.
    pub key: &'a Key,
    /// The object.
    pub object: &'a Value,
    /// Its pods.
    pub own: Vec<&'a Held>,
    /// What time it is.
    pub now: OffsetDateTime,
}

impl Workload<'_> {
    /// A count in the object; objects are checked before they come here, so that one is there or was left out.
    pub fn count(&self, pointer: &str) -> Option<u64> {
        self.object.pointer(pointer).and_then(Value::as_u64)
    }

    /// The number of pods wanted.
    pub fn replicas(&self) -> usize {
        self.count("/spec/replicas").map_or(1, |count| count as usize)
    }

    /// The hash of the template.
    pub fn revision(&self) -> String {
        name::template_hash(&self.object["spec"]["template"])
    }

    /// Whether a pod has been ready for as long as `minReadySeconds` asks.
    pub fn is_available(&self, pod: &Held) -> bool {
        pod.ready && self.now >= pod.since + self.settling()
    }

    /// When the next pod will have been ready for long enough.
    pub fn next_available(&self) -> Option<OffsetDateTime> {
        let waiting = self.own.iter().filter(|pod| pod.ready && !self.is_available(pod));
        waiting.map(|pod| pod.since + self.settling()).min()
    }

    fn settling(&self) -> Duration {
        Duration::from_secs(self.count("/spec/minReadySeconds").unwrap_or(0))
    }

    /// A pod of the template under this name, with what `complete` adds.
    pub fn create(&self, name: &str, revision: &str, complete: impl FnOnce(&mut Value)) -> Change {
        let template = &self.object["spec"]["template"];
        let mut metadata = match &template["metadata"] {
            Value::Object(_) => template["metadata"].clone(),
            _ => json!({}),
        };
        metadata["name"] = json!(name);
        metadata["namespace"] = json!(self.key.namespace);
        let mut pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
        complete(&mut pod);
        Change::Create { pod, owner: Owner::of(self.object), revision: revision.into() }
    }
}

/// Writes who controls a pod.
pub fn controlled_by(pod: &mut Value, api_version: &str, kind: &str, name: &str) {
    pod["metadata"]["ownerReferences"] = json!([
        {"apiVersion": api_version, "kind": kind, "name": name, "uid": name, "controller": true}]);
}

/// Writes the name that a pod's random letters were put behind.
pub fn generated_from(pod: &mut Value) {
    let name = text(pod, "/metadata/name");
    pod["metadata"]["generateName"] =
        json!(format!("{}-", name.rsplit_once('-').map_or(name, |(front, _)| front)));
}

/// A moment as Kubernetes writes it.
pub fn written(moment: OffsetDateTime) -> String {
    moment.replace_nanosecond(0).unwrap_or(moment).format(&Rfc3339).unwrap_or_default()
}

/// A condition of an object's `status`.
pub fn condition(kind: &str, holds: bool, reason: &str, message: &str, since: OffsetDateTime) -> Value {
    json!({"type": kind, "status": if holds { "True" } else { "False" }, "reason": reason, "message": message,
        "lastTransitionTime": written(since), "lastUpdateTime": written(since)})
}

/// An object's `status` without the fields that Kubernetes leaves out: zeros and nothing.
pub fn without_zeros(mut status: Value) -> Value {
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|_, value| !value.is_null() && *value != json!(0) && *value != json!(""));
    }
    status
}
