//! The authority in the cluster's Secrets: reads it, or creates it once. Several authorities that start at the same
//! time end with the same root, because the API server creates a Secret of one name only once.

use crate::root::material::MaterialError;
use crate::root::secret::{self, CREATED, PLUGGED, SecretError};
use crate::root::{Root, create};
use api::identity::TrustDomain;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use kubernetes::client::reason;
use time::OffsetDateTime;

/// The authority that Secrets hold.
pub struct Found {
    /// The name of the Secret.
    pub secret: &'static str,
    /// Its authority.
    pub root: Root,
}

/// Opens the authority of a namespace: reads an existing one, or creates and stores a self-signed one.
pub async fn open(
    secrets: &Api<Secret>,
    trust_domain: &TrustDomain,
    now: OffsetDateTime,
) -> Result<Found, ClusterError> {
    let plugged = read(secrets, PLUGGED).await?;
    let created =
        if plugged.is_none() { Some(read_or_create(secrets, trust_domain, now).await?) } else { None };
    let found = check(plugged.as_ref(), created.as_ref(), now)?;
    found.ok_or_else(|| ClusterError::Api {
        action: "read",
        secret: CREATED,
        reason: "it is empty".to_owned(),
    })
}

/// Returns the authority that the two Secrets hold; `None` if neither exists.
pub fn check(
    plugged: Option<&Secret>,
    created: Option<&Secret>,
    now: OffsetDateTime,
) -> Result<Option<Found>, ClusterError> {
    let Some((secret, material)) = secret::choose(plugged, created)? else { return Ok(None) };
    let root = material.check(now).map_err(|source| ClusterError::Material { secret, source })?;
    Ok(Some(Found { secret, root }))
}

async fn read(secrets: &Api<Secret>, name: &'static str) -> Result<Option<Secret>, ClusterError> {
    secrets.get_opt(name).await.map_err(|error| failed("read", name, &error))
}

async fn read_or_create(
    secrets: &Api<Secret>,
    trust_domain: &TrustDomain,
    now: OffsetDateTime,
) -> Result<Secret, ClusterError> {
    if let Some(found) = read(secrets, CREATED).await? {
        return Ok(found);
    }
    let material = create::fresh(trust_domain, now).map_err(|error| ClusterError::Api {
        action: "created",
        secret: CREATED,
        reason: error.to_string(),
    })?;
    match secrets.create(&PostParams::default(), &secret::stored(&material)).await {
        Ok(secret) => {
            tracing::info!(secret = CREATED, %trust_domain, "a self-signed root was created");
            Ok(secret)
        }
        // Another authority was faster; its root is the mesh's.
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            secrets.get(CREATED).await.map_err(|error| failed("read", CREATED, &error))
        }
        Err(error) => Err(failed("created", CREATED, &error)),
    }
}

fn failed(action: &'static str, secret: &'static str, error: &kube::Error) -> ClusterError {
    ClusterError::Api { action, secret, reason: reason(error) }
}

/// Why the Secrets give no authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The API server does not do what is needed.
    #[error("Secret {secret} cannot be {action}: {reason}")]
    Api {
        /// What was tried.
        action: &'static str,
        /// The Secret.
        secret: &'static str,
        /// The API server's reason.
        reason: String,
    },
    /// The Secret does not hold an authority.
    #[error("{0}; correct it, or delete it to have a new root created")]
    Secret(#[from] SecretError),
    /// The authority is not valid.
    #[error(
        "the authority in Secret {secret} cannot be used; correct it, or delete it to have a new root created"
    )]
    Material {
        /// The Secret.
        secret: &'static str,
        /// What is wrong.
        source: MaterialError,
    },
}

impl ClusterError {
    /// Whether it may pass without a change of the Secret.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Api { .. })
    }
}
