//! The configuration file: any text is mounts or an error with a line of the text, and every mount can be served.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longrun::config::file;

fuzz_target!(|text: &str| match file::parse(text, &|_| Err(std::io::ErrorKind::NotFound.into())) {
    Ok(config) => {
        for mount in config.relay {
            assert!(!mount.upstream.authority.host().is_empty(), "{mount:?}");
            assert!(!mount.upstream.authority.as_str().contains('@'), "{mount:?}");
            assert!(mount.prefix.is_empty() || mount.prefix.starts_with('/'), "{mount:?}");
            assert!(!mount.prefix.ends_with('/'), "{mount:?}");
            let target = longrun::relay::upstream_target(&mount, "/x?y").expect("a target");
            assert_eq!(target.query(), Some("y"), "{mount:?}");
        }
    }
    Err(error) =>
        assert!(error.line >= 1 && error.line <= text.matches('\n').count() + 1, "{error}"),
});
