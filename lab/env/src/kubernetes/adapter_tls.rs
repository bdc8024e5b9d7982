//! The certificates of the metrics adapter: a CA for it alone, whose key nobody keeps, and the one certificate that the CA signed.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::EnvError;

/// How long they hold, days: a lab that is left up longer makes new ones.
const DAYS: i32 = 90;

/// PEM, all of them.
#[derive(Clone)]
pub struct AdapterTls {
    /// What the API server is told to believe.
    pub ca: String,
    /// The adapter's certificate, for the name of its Service.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// New certificates for the adapter of a namespace, valid from the day before `now`: clocks of nodes differ.
///
/// # Errors
/// The system gives no random bytes, or the namespace's name is none.
pub fn make(namespace: &str, now: Timestamp) -> Result<AdapterTls, EnvError> {
    let failed = |source: rcgen::Error| EnvError::Api {
        who: "metrics-adapter".to_owned(),
        what: "get certificates".to_owned(),
        source: source.into(),
    };
    issue(&format!("metrics-adapter.{namespace}.svc"), now.to_zoned(TimeZone::UTC).date()).map_err(failed)
}

fn issue(name: &str, today: Date) -> Result<AdapterTls, rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let mut ca = params(Vec::new(), "lab metrics-adapter CA", today)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_certificate = ca.self_signed(&ca_key)?;

    let key = KeyPair::generate()?;
    let mut leaf = params(vec![name.to_owned()], name, today)?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key))?;
    Ok(AdapterTls { ca: ca_certificate.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(names: Vec<String>, common: &str, today: Date) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    // The longest that a common name may be; nobody reads more of it than an eye does.
    params.distinguished_name.push(DnType::CommonName, common.chars().take(64).collect::<String>());
    let day = |date: Date| date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs());
    params.not_before = day(today.saturating_sub(1.day()));
    params.not_after = day(today.saturating_add(DAYS.days()));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_pem_and_new_each_time() {
        let now = "2026-11-24T16:00:00Z".parse().unwrap();
        let (one, two) = (make("lab-x", now).unwrap(), make("lab-x", now).unwrap());
        for pem in [&one.ca, &one.certificate] {
            assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
        }
        assert!(one.key.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert!(one.ca != two.ca && one.key != two.key && one.ca != one.certificate);
        assert!(make(&"long-".repeat(12), now).is_ok());
    }
}
