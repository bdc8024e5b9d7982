//! Who may call: the API server's front proxy, known by a client certificate of its own authority with an allowed name. The API server has
//! asked who its caller is and whether that one may read metrics; whoever else could reach us has not been asked, and is refused in the
//! handshake.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Requires a certificate that `authority` accepts, with one of `names` as its common name.
#[derive(Debug)]
pub(crate) struct FrontProxy {
    authority: Arc<dyn ClientCertVerifier>,
    /// Empty: any, as Kubernetes has it.
    names: Vec<String>,
}

impl FrontProxy {
    pub(crate) fn new(authority: Arc<dyn ClientCertVerifier>, names: Vec<String>) -> Self {
        Self { authority, names }
    }

    fn is_allowed(&self, certificate: &CertificateDer<'_>) -> bool {
        self.names.is_empty() || common_name(certificate).is_some_and(|name| self.names.contains(&name))
    }
}

/// The common name of a certificate that has one, and only one: which of two is meant, readers disagree about.
fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let mut names = read.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    name.as_str().ok().map(str::to_owned)
}

impl ClientCertVerifier for FrontProxy {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.authority.verify_client_cert(end_entity, intermediates, now)?;
        if self.is_allowed(end_entity) {
            return Ok(verified);
        }
        tracing::warn!("a client certificate of the front proxy's authority has a name that is not allowed");
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authority.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn named(names: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (at, name) in names.iter().enumerate() {
            // A second common name has to come by its number: the builder keeps one of each type.
            let kind = if at == 0 { DnType::CommonName } else { DnType::CustomDnType(vec![2, 5, 4, 3]) };
            params.distinguished_name.push(kind, *name);
        }
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").into()
    }

    #[test]
    fn only_a_single_name_counts() {
        assert_eq!(common_name(&named(&["front-proxy-client"])).as_deref(), Some("front-proxy-client"));
        assert_eq!(common_name(&named(&[])), None);
        assert_eq!(common_name(&named(&["front-proxy-client", "other"])), None);
        assert_eq!(common_name(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
