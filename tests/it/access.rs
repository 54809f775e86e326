//! Every rpc has an action in the one table of who may do what; `tests/secure` asks the same of routes.

use longrun::proto::DESCRIPTORS;
use longrun::service::access;
use prost::Message as _;
use prost_types::FileDescriptorSet;

#[test]
fn every_rpc_has_an_action() {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let mut checked = 0;
    for file in &files {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                assert!(access::action_of_rpc(&path).is_some(), "{path} is not in access.rs");
                checked += 1;
            }
        }
    }
    assert!(checked > 25, "{checked} rpcs were found");
}
