//! What the Job of a lab that `kubectl` alone applied does from within its namespace: it makes the Secrets that the lab's pods wait for.
//! What is there already stays, so that it may run again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use lab_core::spec::Server;
use serde_json::json;

use super::adapter_tls;
use super::call::{Asked as _, QUICK, Refusal, SLOW, ask};
use super::secrets::{self, ACCESS, BACKING};
use crate::EnvError;

/// The Secret with the password of Grafana's admin, and the key of it.
const GRAFANA: (&str, &str) = ("grafana-admin", "password");
/// The Secret with the adapter's certificates.
const ADAPTER: &str = "adapter-tls";
/// Where the API server says whose certificates its front proxy has, and what of it the adapter reads.
const AUTHENTICATION: (&str, &str) = ("kube-system", "extension-apiserver-authentication");
const FRONT_PROXY: &str = "front-proxy";
const FRONT_PROXY_KEYS: [&str; 2] = ["requestheader-client-ca-file", "requestheader-allowed-names"];
/// The API that the adapter serves.
const SERVED: &str = "v1beta1.external.metrics.k8s.io";
const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "lab");

/// Texts by key.
type Data = BTreeMap<String, String>;

/// Makes the Secrets of every server that the manifests know, the token and the password of Grafana; with `adapter` also the metrics
/// adapter's certificates, which it tells the API server. Gives the names of those that were not there yet.
///
/// # Errors
/// This is no pod, its ServiceAccount may not, the cluster does not answer, or the API that the adapter serves is somebody else's.
pub async fn make_secrets(adapter: bool) -> Result<Vec<String>, EnvError> {
    let config = Config::incluster().map_err(|error| no_pod(&error))?;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| no_pod(&Refusal::from(error)))?;
    let mut maker = Maker { secrets: Api::namespaced(client.clone(), &namespace), made: Vec::new() };
    maker.servers().await?;
    let token = secrets::token()?;
    maker.ensure(ACCESS.0, Data::from([(ACCESS.1.to_owned(), token)])).await?;
    let password = secrets::token()?;
    maker.ensure(GRAFANA.0, Data::from([(GRAFANA.1.to_owned(), password)])).await?;
    if adapter {
        let ca = maker.certificates(&namespace).await?;
        copy_front_proxy(&client, &namespace).await?;
        tell(&client, &namespace, &ca).await?;
    }
    Ok(maker.made)
}

fn no_pod(why: &dyn std::fmt::Display) -> EnvError {
    EnvError::NoCluster {
        problem: format!("this is no pod of a cluster: {why}"),
        remedy: "run it as the Job of manifests/components/secrets; `lab` itself needs it not".to_owned(),
    }
}

/// Makes Secrets in one namespace.
struct Maker {
    secrets: Api<Secret>,
    made: Vec<String>,
}

impl Maker {
    /// Those of servers first: an address holds the password that its server has, also when that one was there before.
    async fn servers(&mut self) -> Result<(), EnvError> {
        let mut all = secrets::of_servers(&Server::ALL)?;
        let mut backing = all.remove(BACKING).unwrap_or_default();
        for (name, own) in all {
            let there = self.ensure(&name, own.clone()).await?;
            adopt(&mut backing, &own, &there);
        }
        self.ensure(BACKING, backing).await.map(drop)
    }

    /// The certificates; gives the CA of those that are there.
    async fn certificates(&mut self, namespace: &str) -> Result<String, EnvError> {
        let tls = adapter_tls::make(namespace, Timestamp::now())?;
        let pairs = [("ca.crt", tls.ca), ("tls.crt", tls.certificate), ("tls.key", tls.key)];
        let there = self.ensure(ADAPTER, pairs.map(|(key, pem)| (key.to_owned(), pem)).into()).await?;
        let none = || Refusal::Said(404, "it has no key `ca.crt`; delete it".to_owned());
        there.get("ca.crt").cloned().ok_or_else(none).asked(|| format!("give the CA in Secret {ADAPTER}"))
    }

    /// Makes it unless it is there; gives what it then holds.
    async fn ensure(&mut self, name: &str, data: Data) -> Result<Data, EnvError> {
        let secret = Secret { metadata: meta(name), string_data: Some(data.clone()), ..Secret::default() };
        match ask(SLOW, self.secrets.create(&PostParams::default(), &secret)).await {
            Ok(_) => {
                self.made.push(name.to_owned());
                Ok(data)
            }
            Err(refusal) if refusal.is_conflict() => {
                let there = ask(QUICK, self.secrets.get(name)).await.asked(|| format!("show Secret {name}"))?;
                let text = |ByteString(bytes)| String::from_utf8_lossy(&bytes).into_owned();
                Ok(there.data.unwrap_or_default().into_iter().map(|(key, value)| (key, text(value))).collect())
            }
            Err(refusal) => Err(refusal).asked(|| format!("make Secret {name}")),
        }
    }
}

fn meta(name: &str) -> ObjectMeta {
    let labels = [("app.kubernetes.io/name", "secrets"), PART_OF, ("app.kubernetes.io/managed-by", "lab")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    ObjectMeta { name: Some(name.to_owned()), labels: Some(labels.into()), ..ObjectMeta::default() }
}

/// Puts passwords that are there already in the place of the new ones.
fn adopt(backing: &mut Data, new: &Data, there: &Data) {
    // A password alone, or at the end of a line of configuration.
    let password = |text: &str| text.split_whitespace().last().map(ToOwned::to_owned);
    for (key, text) in new {
        let old = there.get(key).and_then(|text| password(text));
        let (Some(new), Some(old)) = (password(text), old) else { continue };
        for address in backing.values_mut() {
            *address = address.replace(&new, &old);
        }
    }
}

/// What the adapter needs to know the API server by. It changes when the cluster's certificates do, so it is written each time.
async fn copy_front_proxy(client: &Client, namespace: &str) -> Result<(), EnvError> {
    let from: Api<ConfigMap> = Api::namespaced(client.clone(), AUTHENTICATION.0);
    let found = ask(QUICK, from.get(AUTHENTICATION.1)).await;
    let mut found = found.asked(|| format!("show ConfigMap {} of {}", AUTHENTICATION.1, AUTHENTICATION.0))?;
    let mut data = found.data.take().unwrap_or_default();
    data.retain(|key, _| FRONT_PROXY_KEYS.contains(&key.as_str()));
    let to: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let copy = ConfigMap { metadata: meta(FRONT_PROXY), data: Some(data.clone()), ..ConfigMap::default() };
    let made = match ask(SLOW, to.create(&PostParams::default(), &copy)).await {
        Err(refusal) if refusal.is_conflict() => {
            let change = Patch::Merge(json!({ "data": data }));
            ask(SLOW, to.patch(FRONT_PROXY, &PatchParams::default(), &change)).await
        }
        made => made,
    };
    made.map(drop).asked(|| format!("make ConfigMap {FRONT_PROXY}"))
}

/// Tells the API server by which CA it knows the adapter.
async fn tell(client: &Client, namespace: &str, ca: &str) -> Result<(), EnvError> {
    let kind = GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService");
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let found = ask(QUICK, all.get(SERVED)).await.asked(|| format!("show APIService {SERVED}"))?;
    let labelled = found.metadata.labels.iter().flatten().any(|(key, value)| (key.as_str(), value.as_str()) == PART_OF);
    let ours = labelled && found.data["spec"]["service"]["namespace"] == namespace;
    if !ours {
        let words = "it is not this lab's: another server of external metrics, or another lab, has it";
        return Err(Refusal::Said(409, words.to_owned())).asked(|| format!("let APIService {SERVED} be changed"));
    }
    let change = Patch::Merge(json!({ "spec": { "caBundle": ByteString(ca.as_bytes().to_vec()) } }));
    let told = ask(SLOW, all.patch(SERVED, &PatchParams::default(), &change)).await;
    told.map(drop).asked(|| format!("change APIService {SERVED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_the_passwords_that_servers_have_already() {
        let mut all = secrets::of_servers(&Server::ALL).unwrap();
        let mut backing = all.remove(BACKING).unwrap();
        let before = backing.clone();
        for (name, key, old) in
            [("server-store-postgres", "password", "old"), ("server-cache-redis", "lab.conf", "requirepass older\n")]
        {
            adopt(&mut backing, &all[name], &Data::from([(key.to_owned(), old.to_owned())]));
        }
        assert_eq!(backing["store.postgres"], "postgres://lab:old@store-postgres:5432/lab");
        assert_eq!(backing["cache.redis"], "redis://:older@cache-redis:6379/0");
        assert_eq!(backing["store.mysql"], before["store.mysql"]);
    }

    #[test]
    fn what_is_made_says_whose_it_is() {
        let meta = meta("x");
        assert_eq!(meta.labels.unwrap()[PART_OF.0], PART_OF.1);
    }
}
