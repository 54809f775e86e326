//! Certificates of clients: which are taken, and which are not.

use longrun::config::{CertificateCaller, ClientAuth};
use longrun::operation::{Role, TenantId};
use longrun::proto::v1::OperationView;
use tonic::Code;

use crate::support::{Authority, Files, Stage, issue, said, work};

async fn submits(stage: &Stage, shown: Option<&Files>) -> Result<(), String> {
    let mut builder = stage.builder();
    if let Some(Files { certificate, key }) = shown {
        builder = builder.identity(certificate, key);
    }
    let client = builder.connect_lazy().unwrap().with_retries(0);
    client.submit(work()).await.map(drop).map_err(|error| {
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        error.message().to_owned()
    })
}

#[tokio::test]
async fn only_certificates_of_the_authority_that_are_valid_now_get_in() {
    let (stage, clients) = Stage::asking(|_, _| {}).await;
    let good = stage.issue(&clients, "worker-7");
    let foreign = stage.issue(&Authority::new("another's"), "foreign");
    let expired = issue(&clients, stage.directory.path(), "expired", 2020);
    let of_server = stage.issue(&stage.authority, "of-server");
    submits(&stage, Some(&good)).await.unwrap();
    for refused in [None, Some(&foreign), Some(&expired), Some(&of_server)] {
        let error = submits(&stage, refused).await.unwrap_err().to_lowercase();
        assert!(error.contains("certificate") || error.contains("alert"), "{refused:?}: {error}");
    }
    let shown = |files: &Files| [files.certificate.clone(), files.key.clone()];
    for version in ["--tlsv1.3", "--tls-max"] {
        let version = if version == "--tls-max" { vec![version, "1.2"] } else { vec![version] };
        for (files, is_taken) in [(&good, true), (&foreign, false), (&expired, false)] {
            let [certificate, key] = shown(files).map(|file| file.display().to_string());
            let identity = ["--cert", &certificate, "--key", &key];
            let answer = stage.curl(&[&version[..], &identity].concat(), "/livez").await;
            assert_eq!(answer.status.success(), is_taken, "{files:?}: {}", said(&answer));
        }
        let answer = stage.curl(&version, "/livez").await;
        assert!(!answer.status.success(), "{}", said(&answer));
    }
    stage.ends().await;
}

#[tokio::test]
async fn where_certificates_are_optional_a_wrong_one_is_refused_all_the_same() {
    let (stage, clients) =
        Stage::asking(|config, _| config.tls.client_auth = ClientAuth::Optional).await;
    let good = stage.issue(&clients, "good");
    let foreign = stage.issue(&Authority::new("another's"), "foreign");
    submits(&stage, None).await.unwrap();
    submits(&stage, Some(&good)).await.unwrap();
    submits(&stage, Some(&foreign)).await.unwrap_err();
    stage.ends().await;
}

#[tokio::test]
async fn sessions_that_rest_on_a_certificate_are_not_resumed() {
    let (stage, clients) = Stage::asking(|_, _| {}).await;
    let Files { certificate, key } = stage.issue(&clients, "good");
    let [certificate, key] = [certificate, key].map(|file| file.display().to_string());
    let shown = ["-cert", &certificate, "-key", &key];
    for version in ["-tls1_2", "-tls1_3"] {
        // It connects five times more, with what the first connection gave it.
        let again = [&[version, "-reconnect"][..], &shown].concat();
        let answer = said(&stage.s_client(stage.tls, &again).await);
        assert!(answer.contains("New, ") && !answer.contains("Reused, "), "{answer}");
    }
    stage.ends().await;
}

#[tokio::test]
async fn a_certificate_is_its_caller_where_its_name_is_told() {
    let (stage, clients) = Stage::asking(|config, _| {
        let tenant = TenantId::parse("acme").unwrap();
        let roles = [Role::Submit].into_iter().collect();
        config.tls.callers = vec![CertificateCaller { name: "worker-7".to_owned(), tenant, roles }];
    })
    .await;
    let client = |name: &str| {
        let Files { certificate, key } = stage.issue(&clients, name);
        stage.builder().identity(certificate, key).connect_lazy().unwrap().with_retries(0)
    };
    let (known, stranger) = (client("worker-7"), client("worker-8"));
    let submitted = known.submit(work()).await.unwrap();
    let refused = known.get(&submitted.name, OperationView::Basic).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let refused = stranger.submit(work()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let said = refused.to_string();
    assert!(said.contains("worker-8") && !said.contains("worker-7"), "{said}");
    stage.ends().await;
}
