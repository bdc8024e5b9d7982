//! Authorities, certificates, and the TLS of whoever calls.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// The name by which the API server calls the adapter.
pub const SERVER: &str = "metrics-adapter.lab.svc";
/// The name of the front proxy's client certificate.
pub const FRONT_PROXY: &str = "front-proxy-client";

/// An authority that signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
#[derive(Clone)]
pub struct Papers {
    pub certificate: String,
    pub key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn server(&self, name: &str) -> Papers {
        self.sign(name, ExtendedKeyUsagePurpose::ServerAuth, |_| ())
    }

    pub fn client(&self, name: &str) -> Papers {
        self.sign(name, ExtendedKeyUsagePurpose::ClientAuth, |_| ())
    }

    pub fn expired_client(&self, name: &str) -> Papers {
        self.sign(name, ExtendedKeyUsagePurpose::ClientAuth, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose, change: impl FnOnce(&mut CertificateParams)) -> Papers {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.0).expect("a certificate");
        Papers {
            certificate: signed.pem(),
            key: key.serialize_pem(),
            der: signed.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// The TLS of one who trusts this authority, and shows these papers.
    pub fn caller(&self, papers: Option<&Papers>, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        Arc::new(match papers {
            None => builder.with_no_client_auth(),
            Some(papers) => {
                let key = PrivateKeyDer::try_from(papers.key_der.clone()).expect("a key");
                builder.with_client_auth_cert(vec![papers.der.clone()], key).expect("papers")
            }
        })
    }
}

/// Puts the adapter's own papers, and who may call it, where it looks for them.
pub fn lay_out(directory: &Path, own: &Papers, front_proxy: &Authority, names: &str) {
    let write = |name: &str, content: &str| std::fs::write(directory.join(name), content).expect("a file");
    write("tls.crt", &own.certificate);
    write("tls.key", &own.key);
    write("requestheader-client-ca-file", &front_proxy.pem());
    write("requestheader-allowed-names", names);
}
