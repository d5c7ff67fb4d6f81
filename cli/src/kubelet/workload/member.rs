//! Pure. Types that the controllers share: a workload with its pods, the changes that a controller requests, and the
//! creation of a pod from a template.

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::kubelet::name;
use crate::manifest::object::{Key, text};

/// The object that owns a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid. An object that was deleted and created again has another uid.
    pub uid: String,
}

impl Owner {
    /// This object as an owner.
    pub fn of(object: &Value) -> Self {
        Self {
            kind: text(object, "/kind").into(),
            name: text(object, "/metadata/name").into(),
            uid: text(object, "/metadata/uid").into(),
        }
    }
}

/// An existing pod.
#[derive(Debug, Clone)]
pub struct ExistingPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: Owner,
    /// Hash of the template that it was made from.
    pub revision: String,
    /// Whether it is ready for traffic.
    pub ready: bool,
    /// Time of the last change of readiness, or of its creation.
    pub since: OffsetDateTime,
    /// `None` while it runs; then whether all its containers succeeded.
    pub finished: Option<bool>,
    /// Whether it is being terminated.
    pub leaving: bool,
    /// Number of restarts of its containers, without sidecars.
    pub restarts: u64,
    /// Its index in an indexed Job.
    pub index: Option<u64>,
}

/// One change towards the desired state.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Create a pod.
    Create {
        /// The pod.
        pod: Value,
        /// Its owner.
        owner: Owner,
        /// Hash of its template.
        revision: String,
    },
    /// Remove a pod.
    Remove {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Delete an object whose time to live is over.
    Delete(Key),
}

/// The removal of a pod.
pub fn remove(pod: &ExistingPod) -> Change {
    Change::Remove { namespace: pod.namespace.clone(), name: pod.name.clone() }
}

/// An object that owns pods, with its pods.
pub struct Workload<'a> {
    /// Its key.
    pub key: &'a Key,
    /// The object.
    pub object: &'a Value,
    /// Its pods.
    pub own: Vec<&'a ExistingPod>,
    /// The current time.
    pub now: OffsetDateTime,
}

impl Workload<'_> {
    /// A number field of the object. Objects are checked before, so the field is valid or missing.
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

    /// Whether a pod has been ready for `minReadySeconds`.
    pub fn is_available(&self, pod: &ExistingPod) -> bool {
        pod.ready && self.now >= pod.since + self.settling()
    }

    /// The time at which the next pod becomes available.
    pub fn next_available(&self) -> Option<OffsetDateTime> {
        let waiting = self.own.iter().filter(|pod| pod.ready && !self.is_available(pod));
        waiting.map(|pod| pod.since + self.settling()).min()
    }

    fn settling(&self) -> Duration {
        Duration::from_secs(self.count("/spec/minReadySeconds").unwrap_or(0))
    }

    /// Creates a pod from the template with this name. `complete` adds further fields.
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

/// Adds the controlling owner to a pod.
pub fn controlled_by(pod: &mut Value, api_version: &str, kind: &str, name: &str) {
    pod["metadata"]["ownerReferences"] = json!([
        {"apiVersion": api_version, "kind": kind, "name": name, "uid": name, "controller": true}]);
}

/// Sets `generateName`: the pod's name without its random letters.
pub fn generated_from(pod: &mut Value) {
    let name = text(pod, "/metadata/name");
    pod["metadata"]["generateName"] =
        json!(format!("{}-", name.rsplit_once('-').map_or(name, |(front, _)| front)));
}

/// A time in Kubernetes' format.
pub fn written(moment: OffsetDateTime) -> String {
    moment.replace_nanosecond(0).unwrap_or(moment).format(&Rfc3339).unwrap_or_default()
}

/// A condition of an object's `status`.
pub fn condition(kind: &str, holds: bool, reason: &str, message: &str, since: OffsetDateTime) -> Value {
    json!({"type": kind, "status": if holds { "True" } else { "False" }, "reason": reason, "message": message,
        "lastTransitionTime": written(since), "lastUpdateTime": written(since)})
}

/// Removes zeros and empty values from a `status`, as Kubernetes does.
pub fn without_zeros(mut status: Value) -> Value {
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|_, value| !value.is_null() && *value != json!(0) && *value != json!(""));
    }
    status
}
