//! What an uninstallation leaves: the definitions with the users' objects, the root and the trust bundles, and Leases.
//! `ostria uninstall --purge` removes what Ostria made, and nothing that another owner made.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Error, Resource};
use serde::de::DeserializeOwned;

use crate::check::owner::{is_ours, name};

/// An object that can be removed.
#[derive(Debug, Clone)]
pub struct Leftover {
    resource: ApiResource,
    namespace: Option<String>,
    name: String,
}

impl Leftover {
    /// As kubectl names it.
    pub fn text(&self) -> String {
        let place = self.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        format!("{}/{}{place}", self.resource.plural, self.name)
    }

    /// Whether the users' objects of a kind are deleted with it.
    pub fn is_definition(&self) -> bool {
        self.resource.kind == "CustomResourceDefinition"
    }

    /// Deletes it. Succeeds if it does not exist any more.
    pub async fn delete(&self, client: &Client) -> Result<(), Error> {
        let api = match &self.namespace {
            Some(namespace) => {
                Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &self.resource)
            }
            None => Api::all_with(client.clone(), &self.resource),
        };
        match api.delete(&self.name, &DeleteParams::default()).await {
            Err(Error::Api(status)) if status.code == 404 => Ok(()),
            result => result.map(drop),
        }
    }
}

/// The objects that are left, given the namespace of the control plane.
pub async fn list(client: &Client, namespace: &str) -> Result<Vec<Leftover>, Error> {
    let mut all = vec![];
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let definitions =
        definitions.list_metadata(&ListParams::default().labels("app.kubernetes.io/part-of=ostria")).await?;
    let ours = definitions.items.iter().filter(|one| is_ours(&one.metadata));
    all.extend(ours.map(|one| leftover::<CustomResourceDefinition>(&one.metadata)));
    let maps = ListParams::default().fields("metadata.name=istio-ca-root-cert");
    all.extend(written::<ConfigMap>(Api::all(client.clone()), &maps, is_by_citadel).await?);
    let secrets = ListParams::default().fields("metadata.name=istio-ca-secret");
    all.extend(written::<Secret>(Api::namespaced(client.clone(), namespace), &secrets, is_by_citadel).await?);
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    all.extend(written::<Lease>(leases, &ListParams::default(), is_election).await?);
    Ok(all)
}

async fn written<K>(
    api: Api<K>,
    params: &ListParams,
    wanted: fn(&ObjectMeta) -> bool,
) -> Result<Vec<Leftover>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let found = api.list_metadata(params).await?.items;
    Ok(found.iter().filter(|one| wanted(&one.metadata)).map(|one| leftover::<K>(&one.metadata)).collect())
}

fn leftover<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta) -> Leftover {
    Leftover {
        resource: ApiResource::erase::<K>(&()),
        namespace: metadata.namespace.clone(),
        name: name(metadata).to_owned(),
    }
}

/// Whether citadel alone has written the object.
fn is_by_citadel(metadata: &ObjectMeta) -> bool {
    let managers: Vec<&str> =
        metadata.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref()).collect();
    !managers.is_empty() && managers.iter().all(|manager| *manager == "ostria-citadel")
}

/// Whether replicas of Ostria compete for the Lease.
fn is_election(metadata: &ObjectMeta) -> bool {
    ["ostria-citadel-leader", "ostria-pilot-leader", "ostria-injector-leader"].iter().any(|lease| {
        name(metadata).strip_prefix(lease).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn metadata(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_another_has_written_too_is_not_removed() {
        let by = |managers: &[&str]| {
            let fields: Vec<Value> = managers.iter().map(|manager| json!({"manager": manager})).collect();
            is_by_citadel(&metadata(json!({"managedFields": fields})))
        };
        assert!(by(&["ostria-citadel"]) && by(&["ostria-citadel", "ostria-citadel"]));
        assert!(!by(&["pilot-discovery"]) && !by(&["ostria-citadel", "pilot-discovery"]) && !by(&[]));
    }

    #[test]
    fn leases_of_all_revisions_are_recognized() {
        let is = |name: &str| is_election(&metadata(json!({"name": name})));
        assert!(is("ostria-pilot-leader") && is("ostria-injector-leader-canary"));
        assert!(!is("ostria-pilot-leaders") && !is("istio-leader"));
    }
}
