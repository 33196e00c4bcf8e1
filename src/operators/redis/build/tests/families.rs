//! Addresses of both families.

use super::*;

/// Address type and addresses of each endpoint slice, by name.
fn slices(services: &Value, ips: &[&str]) -> Vec<(String, String, Vec<String>)> {
    let spec = json!({"replicas": 2, "services": services});
    let instance = Instance {
        ip: ips.first().map(|ip| (*ip).to_owned()),
        ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
        ..serving()
    };
    let v = validate(&redis(&spec), &Observed::default()).unwrap();
    let published = Published {
        primary: Some(&instance),
        readers: vec![],
    };
    let slices = endpoint_slices(&v, &published).into_iter();
    let addresses = slices.map(|s| {
        let addresses = s.endpoints.into_iter().flat_map(|e| e.addresses).collect();
        (s.metadata.name.unwrap(), s.address_type, addresses)
    });
    addresses
        .filter(|(name, ..)| name.starts_with("db-primary"))
        .collect()
}

#[test]
fn there_is_a_slice_for_each_family_that_the_services_have() {
    let (four, six) = ("10.0.0.1", "fd00::1");
    let v4 = || {
        (
            "db-primary".to_owned(),
            "IPv4".to_owned(),
            vec![four.to_owned()],
        )
    };
    let v6 = || {
        (
            "db-primary-ipv6".to_owned(),
            "IPv6".to_owned(),
            vec![six.to_owned()],
        )
    };
    let dual = || json!({"ipFamilyPolicy": "PreferDualStack"});
    for (services, ips, wanted) in [
        (json!({}), vec![four], vec![v4()]),
        (json!({}), vec![six], vec![v6()]),
        (json!({}), vec![four, six], vec![v4()]),
        (json!({}), vec![six, four], vec![v6()]),
        (json!({"ipFamilies": ["IPv6"]}), vec![four, six], vec![v6()]),
        (dual(), vec![four, six], vec![v4(), v6()]),
        (dual(), vec![six, four], vec![v4(), v6()]),
        (dual(), vec![four], vec![v4()]),
    ] {
        assert_eq!(slices(&services, &ips), wanted, "{services} {ips:?}");
    }
}

#[test]
fn every_service_has_the_families_of_the_spec() {
    let services = json!({
        "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"], "external": {},
    });
    let spec = json!({"replicas": 1, "services": services});
    let v = validate(&redis(&spec), &Observed::default()).unwrap();
    let built = build(&v, &Observed::default(), &credentials())
        .unwrap()
        .services;
    assert_eq!(built.len(), 4);
    for service in built {
        let spec = service.spec.unwrap();
        assert_eq!(spec.ip_family_policy.as_deref(), Some("RequireDualStack"));
        assert_eq!(spec.ip_families.unwrap(), ["IPv6", "IPv4"]);
    }
}
