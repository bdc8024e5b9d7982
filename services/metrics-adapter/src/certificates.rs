//! The files behind the door: our certificate with its key, and who may call. Read at the start, and again and again, because they are
//! replaced while we run; files that make no sense change nothing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kit::{Lifecycle, ServeError};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::front_proxy::FrontProxy;

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(10);

/// The TLS configuration in force.
pub(crate) type Tls = watch::Receiver<Arc<ServerConfig>>;

/// Where the files are.
#[derive(Debug, Clone)]
pub(crate) struct Files([PathBuf; 4]);

/// What they hold: certificate, key, authority of callers, their names.
#[derive(PartialEq)]
struct Held([Vec<u8>; 4]);

/// Why files make no TLS configuration.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("its PEM cannot be read")]
    Pem(#[from] pem::Error),
    #[error("it holds no certificate")]
    NoCertificate,
    #[error("it must be a JSON list of names")]
    Names(#[from] serde_json::Error),
    #[error("no caller could be checked by it")]
    Authority(#[from] VerifierBuilderError),
    #[error("TLS cannot use it")]
    Tls(#[from] rustls::Error),
}

impl Files {
    /// As the flags name their directories.
    pub(crate) fn new(tls: &std::path::Path, front_proxy: &std::path::Path) -> Self {
        let authority = ["requestheader-client-ca-file", "requestheader-allowed-names"];
        let [ca, names] = authority.map(|name| front_proxy.join(name));
        Self([tls.join("tls.crt"), tls.join("tls.key"), ca, names])
    }

    async fn read(&self) -> Result<Held, ServeError> {
        let mut held = Held(Default::default());
        for (path, content) in self.0.iter().zip(&mut held.0) {
            *content = tokio::fs::read(path).await.map_err(|error: io::Error| self.failed(path, error))?;
        }
        Ok(held)
    }

    fn config(&self, held: &Held) -> Result<ServerConfig, ServeError> {
        let [certificate, key, ca, names] = &self.0;
        let [certificate_pem, key_pem, ca_pem, names_json] = &held.0;
        let chain = certificates(certificate_pem).map_err(|error| self.failed(certificate, error))?;
        let own_key =
            PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| self.failed(key, Unusable::from(error)))?;
        let roots = certificates(ca_pem).map_err(|error| self.failed(ca, error))?;
        let names = serde_json::from_slice(names_json).map_err(|error| self.failed(names, Unusable::from(error)))?;
        let callers = callers(roots, names).map_err(|error| self.failed(ca, error))?;
        let configured = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_client_cert_verifier(Arc::new(callers)))
            .and_then(|builder| builder.with_single_cert(chain, own_key));
        let mut config = configured.map_err(|error| self.failed(certificate, Unusable::from(error)))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Nobody comes back without showing a certificate anew.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn failed(&self, path: &std::path::Path, error: impl Into<kit::OpenError>) -> ServeError {
        ServeError::Open { role: "certificate file", address: path.display().to_string(), source: error.into() }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let read: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?;
    if read.is_empty() { Err(Unusable::NoCertificate) } else { Ok(read) }
}

fn callers(authority: Vec<CertificateDer<'static>>, names: Vec<String>) -> Result<FrontProxy, Unusable> {
    let mut roots = RootCertStore::empty();
    for certificate in authority {
        roots.add(certificate)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider())).build()?;
    Ok(FrontProxy::new(verifier, names))
}

/// Reads the files, and reads them again until the service ends.
///
/// # Errors
/// A file that is not there or makes no sense at the start.
pub(crate) async fn open(files: Files, life: &Lifecycle) -> Result<Tls, ServeError> {
    let held = files.read().await?;
    let (sender, tls) = watch::channel(Arc::new(files.config(&held)?));
    let life = life.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = keep_reading(&files, held, &sender) => {}
            () = life.ending() => {}
        }
    });
    Ok(tls)
}

async fn keep_reading(files: &Files, mut held: Held, sender: &watch::Sender<Arc<ServerConfig>>) {
    loop {
        sleep(LOOK).await;
        let changed = match files.read().await {
            Ok(now) if now == held => continue,
            Ok(now) => files.config(&now).map(|config| (now, config)),
            Err(error) => Err(error),
        };
        match changed {
            Ok((now, config)) => {
                tracing::info!("certificates were replaced");
                held = now;
                sender.send_replace(Arc::new(config));
            }
            // Half replaced, perhaps: the next look sees the rest.
            Err(error) => tracing::warn!(error = kit::chain(&error), "certificates stay as they were"),
        }
    }
}
