//! The built-in dialects: ordinary files, read by the same code.

/// Name and file.
const FILES: [(&str, &str); 10] = [
    ("bulk-api", include_str!("builtin/bulk-api.toml")),
    ("background-job", include_str!("builtin/background-job.toml")),
    ("background-request", include_str!("builtin/background-request.toml")),
    ("job-object", include_str!("builtin/job-object.toml")),
    ("async-parameter", include_str!("builtin/async-parameter.toml")),
    ("operation-location", include_str!("builtin/operation-location.toml")),
    ("fhir-async", include_str!("builtin/fhir-async.toml")),
    ("redfish-task", include_str!("builtin/redfish-task.toml")),
    ("ga4gh-tes", include_str!("builtin/ga4gh-tes.toml")),
    ("openai-responses", include_str!("builtin/openai-responses.toml")),
];

pub(super) fn find(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::super::Dialect;
    use super::*;

    #[test]
    fn every_built_in_dialect_can_be_served() {
        for name in names() {
            if let Err(error) = Dialect::parse(find(name).unwrap()) {
                panic!("{name}, {error}");
            }
        }
    }
}
