//! Pure. Which pods are missing and which are too many: what Deployments, StatefulSets and Jobs want against
//! what is there. One step at a time, so that it can be asked again after each change.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kubelet::name;
use crate::manifest::object::{Key, text};

/// A pod that is there.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Kind and name of the object that made it; empty for a pod of its own.
    pub owner: (String, String),
    /// Hash of the template that it was made from.
    pub revision: String,
    /// Whether it takes traffic.
    pub ready: bool,
    /// Whether all its containers ended for good, and well.
    pub finished: Option<bool>,
    /// Whether it is on its way out.
    pub leaving: bool,
}

/// One change towards what is wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Make a pod.
    Create {
        /// The pod.
        pod: Value,
        /// Kind and name of what it belongs to.
        owner: (String, String),
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
}

/// The changes that are possible now. `random` gives the letters at pods' ends.
pub fn changes(
    objects: &BTreeMap<Key, Value>,
    held: &[Held],
    random: &mut dyn FnMut() -> u64,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (key, object) in objects {
        let owner = (key.kind.clone(), key.name.clone());
        let own: Vec<&Held> =
            held.iter().filter(|pod| pod.namespace == key.namespace && pod.owner == owner).collect();
        let workload = Workload { key, object, own };
        match key.kind.as_str() {
            "Pod" => workload.single(&mut changes),
            "Deployment" => workload.deployment(random, &mut changes),
            "StatefulSet" => workload.stateful(&mut changes),
            "Job" => workload.job(random, &mut changes),
            _ => {}
        }
    }
    let orphans = held.iter().filter(|pod| {
        !pod.leaving
            && !objects.keys().any(|key| {
                key.namespace == pod.namespace
                    && (key.kind.as_str(), key.name.as_str()) == (&pod.owner.0, &pod.owner.1)
            })
    });
    changes.extend(orphans.map(remove));
    changes
}

struct Workload<'a> {
    key: &'a Key,
    object: &'a Value,
    own: Vec<&'a Held>,
}

impl Workload<'_> {
    fn single(&self, changes: &mut Vec<Change>) {
        let spec = json!({"metadata": self.object["metadata"], "spec": self.object["spec"]});
        let revision = name::template_hash(&spec);
        match self.own.first() {
            None => {
                let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": self.object["metadata"], "spec": self.object["spec"]});
                changes.push(Change::Create { pod, owner: ("Pod".into(), self.key.name.clone()), revision });
            }
            Some(pod) if pod.revision != revision && !pod.leaving => changes.push(remove(pod)),
            Some(_) => {}
        }
    }

    /// Makes pods of the template before pods of older ones go: no moment has fewer ready pods than wanted.
    fn deployment(&self, random: &mut dyn FnMut() -> u64, changes: &mut Vec<Change>) {
        let wanted = count(self.object, "/spec/replicas", 1);
        let revision = name::template_hash(&self.object["spec"]["template"]);
        let (fresh, stale): (Vec<&Held>, Vec<&Held>) =
            self.own.iter().copied().filter(|pod| !pod.leaving).partition(|pod| pod.revision == revision);
        let recreate = text(self.object, "/spec/strategy/type") == "Recreate";
        let room = if recreate {
            let others =
                stale.len() + self.own.iter().filter(|pod| pod.leaving && pod.revision != revision).count();
            if others == 0 { wanted } else { fresh.len() }
        } else {
            (wanted + wanted.div_ceil(4)).saturating_sub(stale.len())
        };
        let set = format!("{}-{revision}", self.key.name);
        for _ in fresh.len()..wanted.min(room) {
            let name = format!("{set}-{}", name::suffix(random()));
            changes.push(self.create(
                &name,
                &revision,
                ("pod-template-hash", &revision),
                ("apps/v1", "ReplicaSet", &set),
            ));
        }
        let ready = fresh.iter().filter(|pod| pod.ready).count();
        let mut old = stale;
        old.sort_by_key(|pod| pod.ready);
        let ready_old = old.iter().filter(|pod| pod.ready).count();
        let spare = if recreate {
            old.len()
        } else {
            (old.len() - ready_old) + (ready + ready_old).saturating_sub(wanted).min(ready_old)
        };
        changes.extend(old.into_iter().take(spare).map(remove));
        let mut surplus = fresh;
        surplus.sort_by_key(|pod| pod.ready);
        let many = surplus.len().saturating_sub(wanted);
        changes.extend(surplus.into_iter().take(many).map(remove));
    }

    /// Numbered pods, one after the other; a changed template replaces them from the highest number.
    fn stateful(&self, changes: &mut Vec<Change>) {
        let wanted = count(self.object, "/spec/replicas", 1);
        let revision = name::template_hash(&self.object["spec"]["template"]);
        let parallel = text(self.object, "/spec/podManagementPolicy") == "Parallel";
        let numbered =
            |number: usize| self.own.iter().find(|pod| pod.name == format!("{}-{number}", self.key.name));
        let mut settled = true;
        for number in 0..wanted {
            let name = format!("{}-{number}", self.key.name);
            match numbered(number) {
                None => {
                    changes.push(self.create(
                        &name,
                        &revision,
                        ("controller-revision-hash", &format!("{}-{revision}", self.key.name)),
                        ("apps/v1", "StatefulSet", &self.key.name),
                    ));
                    settled = false;
                }
                Some(pod) if !pod.ready || pod.leaving => settled = false,
                Some(_) => {}
            }
            if !settled && !parallel {
                break;
            }
        }
        let surplus = self.own.iter().filter(|pod| {
            let number = pod.name.rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
            !pod.leaving && number.is_none_or(|number| number >= wanted)
        });
        changes.extend(surplus.map(|pod| remove(pod)));
        let outdated =
            (0..wanted).rev().filter_map(numbered).find(|pod| pod.revision != revision && !pod.leaving);
        if let Some(pod) = outdated
            && (settled || !pod.ready)
        {
            changes.push(remove(pod));
        }
    }

    fn job(&self, random: &mut dyn FnMut() -> u64, changes: &mut Vec<Change>) {
        let revision = name::template_hash(&self.object["spec"]["template"]);
        let done = self.own.iter().filter(|pod| pod.finished == Some(true)).count();
        let failed = self.own.iter().filter(|pod| pod.finished == Some(false)).count();
        let active = self.own.iter().filter(|pod| pod.finished.is_none()).count();
        let missing = count(self.object, "/spec/completions", 1).saturating_sub(done);
        let parallel = count(self.object, "/spec/parallelism", 1).min(missing);
        if failed > count(self.object, "/spec/backoffLimit", 6) {
            return;
        }
        for _ in active..parallel {
            let name = format!("{}-{}", self.key.name, name::suffix(random()));
            changes.push(self.create(
                &name,
                &revision,
                ("job-name", &self.key.name),
                ("batch/v1", "Job", &self.key.name),
            ));
        }
    }

    fn create(&self, name: &str, revision: &str, label: (&str, &str), owner: (&str, &str, &str)) -> Change {
        let template = &self.object["spec"]["template"];
        let mut metadata = match &template["metadata"] {
            Value::Object(_) => template["metadata"].clone(),
            _ => json!({}),
        };
        metadata["name"] = json!(name);
        metadata["namespace"] = json!(self.key.namespace);
        metadata["labels"][label.0] = json!(label.1);
        metadata["ownerReferences"] = json!([{"apiVersion": owner.0, "kind": owner.1, "name": owner.2, "uid": owner.2, "controller": true}]);
        let mut spec = template["spec"].clone();
        if self.key.kind == "StatefulSet" {
            metadata["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
            spec["hostname"] = json!(name);
            spec["subdomain"] = self.object["spec"]["serviceName"].clone();
        } else {
            metadata["generateName"] =
                json!(format!("{}-", name.rsplit_once('-').map_or(name, |(front, _)| front)));
        }
        Change::Create {
            pod: json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}),
            owner: (self.key.kind.clone(), self.key.name.clone()),
            revision: revision.into(),
        }
    }
}

fn remove(pod: &Held) -> Change {
    Change::Remove { namespace: pod.namespace.clone(), name: pod.name.clone() }
}

fn count(object: &Value, pointer: &str, default: usize) -> usize {
    object.pointer(pointer).and_then(Value::as_u64).map_or(default, |count| count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: &str, spec: &Value) -> BTreeMap<Key, Value> {
        let group = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        let object = json!({"apiVersion": group, "kind": kind, "metadata": {"name": "web", "namespace": "default"}, "spec": spec});
        BTreeMap::from([(Key::of(&object), object)])
    }

    /// Applies changes until nothing changes, with new pods ready at once; the number ready at each step.
    fn settle(objects: &BTreeMap<Key, Value>, held: &mut Vec<Held>) -> Vec<usize> {
        let mut random = held.len() as u64 * 1000;
        let mut ready = Vec::new();
        for _ in 0..50 {
            let next = changes(objects, held, &mut || {
                random += 1;
                random
            });
            if next.is_empty() {
                return ready;
            }
            for change in next {
                match change {
                    Change::Remove { name, .. } => held.retain(|pod| pod.name != name),
                    Change::Create { pod, owner, revision } => held.push(Held {
                        namespace: "default".into(),
                        name: text(&pod, "/metadata/name").into(),
                        owner,
                        revision,
                        ..Held::default()
                    }),
                }
            }
            ready.push(held.iter().filter(|pod| pod.ready).count());
            for pod in held.iter_mut() {
                pod.ready = true;
            }
        }
        panic!("does not settle");
    }

    fn template(text: &str) -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": text}]}})
    }

    #[test]
    fn a_changed_deployment_never_has_fewer_ready_pods_than_wanted() {
        let mut held = Vec::new();
        settle(&workload("Deployment", &json!({"replicas": 3, "template": template("a")})), &mut held);
        assert_eq!(held.len(), 3);
        let before = held.clone();
        let ready =
            settle(&workload("Deployment", &json!({"replicas": 3, "template": template("b")})), &mut held);
        assert!(ready.iter().all(|ready| *ready >= 3), "{ready:?}");
        assert_eq!(held.len(), 3);
        assert!(held.iter().all(|pod| pod.revision != before[0].revision));
    }

    #[test]
    fn deployments_scale_down_to_nothing_and_orphans_go() {
        let mut held = Vec::new();
        settle(&workload("Deployment", &json!({"replicas": 2, "template": template("a")})), &mut held);
        settle(&workload("Deployment", &json!({"replicas": 1, "template": template("a")})), &mut held);
        assert_eq!(held.len(), 1);
        settle(&BTreeMap::new(), &mut held);
        assert!(held.is_empty());
    }

    #[test]
    fn a_pod_of_a_deployment_belongs_to_a_replica_set() {
        let objects = workload("Deployment", &json!({"template": template("a")}));
        let made = changes(&objects, &[], &mut || 7);
        let Change::Create { pod, .. } = &made[0] else { panic!("{made:?}") };
        let hash = text(pod, "/metadata/labels/pod-template-hash");
        assert_eq!(text(pod, "/metadata/ownerReferences/0/name"), format!("web-{hash}"));
        assert!(text(pod, "/metadata/name").starts_with(&format!("web-{hash}-")));
        assert_eq!(text(pod, "/metadata/generateName"), format!("web-{hash}-"));
    }

    #[test]
    fn a_recreated_deployment_ends_its_pods_first() {
        let spec =
            |name: &str| json!({"replicas": 2, "strategy": {"type": "Recreate"}, "template": template(name)});
        let mut held = Vec::new();
        settle(&workload("Deployment", &spec("a")), &mut held);
        let next = changes(&workload("Deployment", &spec("b")), &held, &mut || 1);
        assert!(next.iter().all(|change| matches!(change, Change::Remove { .. })), "{next:?}");
    }

    #[test]
    fn stateful_pods_have_numbers_and_come_in_order() {
        let spec = |name: &str| json!({"replicas": 2, "serviceName": "db", "template": template(name)});
        let first = changes(&workload("StatefulSet", &spec("a")), &[], &mut || 1);
        assert_eq!(first.len(), 1);
        let Change::Create { pod, .. } = &first[0] else { panic!() };
        assert_eq!((text(pod, "/metadata/name"), text(pod, "/spec/subdomain")), ("web-0", "db"));
        let mut held = Vec::new();
        settle(&workload("StatefulSet", &spec("a")), &mut held);
        assert_eq!(held.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["web-0", "web-1"]);
        let next = changes(&workload("StatefulSet", &spec("b")), &held, &mut || 1);
        assert_eq!(next, [Change::Remove { namespace: "default".into(), name: "web-1".into() }]);
        settle(&workload("StatefulSet", &spec("b")), &mut held);
        assert_eq!(held.len(), 2);
    }

    #[test]
    fn a_job_makes_pods_until_enough_succeeded_or_too_many_failed() {
        let objects = workload("Job", &json!({"backoffLimit": 1, "template": template("a")}));
        let pod = |finished| Held {
            namespace: "default".into(),
            name: "web-x".into(),
            owner: ("Job".into(), "web".into()),
            finished,
            ..Held::default()
        };
        let made = |held: &[Held]| changes(&objects, held, &mut || 1).len();
        assert_eq!(made(&[]), 1);
        assert_eq!(made(&[pod(None)]), 0);
        assert_eq!(made(&[pod(Some(true))]), 0);
        assert_eq!(made(&[pod(Some(false))]), 1);
        assert_eq!(made(&[pod(Some(false)), pod(Some(false))]), 0);
    }
}
