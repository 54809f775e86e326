//! What the server says of itself: reflection in both versions, and health.

use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::*;

const SERVICES: [&str; 5] = [
    "google.longrunning.Operations",
    "grpc.health.v1.Health",
    "longrun.v1.Admin",
    "longrun.v1.Operations",
    "longrun.v1.Workers",
];

#[tokio::test]
async fn reflection_v1_lists_the_services_and_has_their_files() {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    let server = TestServer::start().await;
    let mut rpc = v1::server_reflection_client::ServerReflectionClient::new(server.channel.clone());
    let ask = |message| v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message),
    };
    let requests = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("longrun.v1.Operations".to_owned())),
        ask(MessageRequest::FileContainingSymbol("longrun.v1.WorkRequest".to_owned())),
        ask(MessageRequest::FileContainingSymbol("google.longrunning.Operation".to_owned())),
        ask(MessageRequest::FileContainingSymbol("google.api.HttpBody".to_owned())),
        ask(MessageRequest::FileContainingSymbol("google.rpc.BadRequest".to_owned())),
        ask(MessageRequest::FileByFilename("google/rpc/status.proto".to_owned())),
    ];
    let answers = soon(rpc.server_reflection_info(tokio_stream::iter(requests))).await.unwrap();
    let answers = Watching(answers.into_inner()).rest().await;
    let (list, files) = answers.split_first().unwrap();
    assert_eq!(files.len(), 6);
    let Some(MessageResponse::ListServicesResponse(list)) = &list.message_response else {
        panic!("{list:?}")
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    for service in SERVICES {
        assert!(names.contains(&service), "{names:?}");
    }
    for answer in files {
        let Some(MessageResponse::FileDescriptorResponse(files)) = &answer.message_response else {
            panic!("{answer:?}")
        };
        assert!(!files.file_descriptor_proto.is_empty());
    }
}

#[tokio::test]
async fn reflection_v1alpha_lists_the_same_services() {
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let server = TestServer::start().await;
    let mut rpc =
        v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel.clone());
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = soon(rpc.server_reflection_info(tokio_stream::once(request))).await.unwrap();
    let answers = Watching(answers.into_inner()).rest().await;
    let Some(MessageResponse::ListServicesResponse(list)) = &answers[0].message_response else {
        panic!("{answers:?}")
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    for service in SERVICES {
        assert!(names.contains(&service), "{names:?}");
    }
}

#[tokio::test]
async fn a_watch_of_health_repeats_its_status_in_silence() {
    let heartbeat_interval = std::time::Duration::from_secs(4);
    let tuning = Tuning { heartbeat_interval, ..Tuning::default() };
    let server = ClockedServer::with(tuning).await;
    let mut rpc = HealthClient::new(server.channel.clone());
    let watch = soon(rpc.watch(HealthCheckRequest::default())).await.unwrap();
    let mut watch = Watching(watch.into_inner());
    assert_eq!(watch.next().await.status(), ServingStatus::Serving);
    for _ in 0..3 {
        soon(server.clock.is_awaited_in(heartbeat_interval)).await;
        server.advance(heartbeat_interval);
        assert_eq!(watch.next().await.status(), ServingStatus::Serving);
    }
}

#[tokio::test]
async fn health_is_serving_and_then_not_when_the_server_stops() {
    let mut server = TestServer::start().await;
    let mut rpc = HealthClient::new(server.channel.clone());
    let about = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut watches = Vec::new();
    let google = "google.longrunning.Operations";
    for service in ["", "longrun.v1.Operations", "longrun.v1.Workers", google] {
        let status = soon(rpc.check(about(service))).await.unwrap().into_inner();
        assert_eq!(status.status(), ServingStatus::Serving, "{service:?}");
        let mut watch = Watching(soon(rpc.watch(about(service))).await.unwrap().into_inner());
        let status: HealthCheckResponse = watch.next().await;
        assert_eq!(status.status(), ServingStatus::Serving);
        watches.push(watch);
    }
    let unknown = soon(rpc.check(about("longrun.v1.Nonsense"))).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let unknown = soon(rpc.watch(about("longrun.v1.Nonsense"))).await.unwrap();
    let mut unknown = Watching(unknown.into_inner());
    assert_eq!(unknown.next().await.status(), ServingStatus::ServiceUnknown);
    server.begin_to_stop();
    unknown.ended().await;
    for watch in &mut watches {
        assert_eq!(watch.next().await.status(), ServingStatus::NotServing);
        watch.ended().await;
    }
    drop(watches);
    server.stop().await;
}
