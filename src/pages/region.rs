//! Regions of pages, which consist of parts.

use super::template::unescaped;

/// A part of a page that changes as one.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its name within the region: the `data-key` of its element.
    pub(super) key: String,
    pub(super) html: String,
}

/// An element of a page that contains parts.
#[derive(Clone, Debug)]
pub(super) struct Region {
    /// The id of the element.
    pub(super) id: &'static str,
    pub(super) parts: Vec<Part>,
    /// Whether these parts follow the existing ones; otherwise they replace them all.
    pub(super) is_more: bool,
}

impl Region {
    /// The region that consists of this HTML: a part begins at each element with a `data-key`. Values are escaped, so only
    /// templates have such elements.
    pub(super) fn of(id: &'static str, html: &str) -> Self {
        /// Before the key.
        const KEY: &str = " data-key=\"";
        let starts = html.match_indices(KEY).filter_map(|(at, _)| html.get(..at)?.rfind('<'));
        let starts: Vec<usize> = starts.collect();
        let ends = starts.iter().skip(1).copied().chain([html.len()]);
        let parts = starts.iter().zip(ends).filter_map(|(start, end)| {
            let html = html.get(*start..end)?.trim_end();
            let (key, _) = html.split_once(KEY)?.1.split_once('"')?;
            Some(Part { key: unescaped(key), html: html.to_owned() })
        });
        Self { id, parts: parts.collect(), is_more: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_with_a_key_is_a_part() {
        let html = "\n<tr data-key=\"1 &quot;w&quot; &amp;lt;\">\n<td>a</td>\n</tr>\n<tr data-key=\"b\"></tr>\n";
        let parts = Region::of("rows", html).parts;
        let [first, second] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!(first.key, "1 \"w\" &lt;");
        assert_eq!(first.html, "<tr data-key=\"1 &quot;w&quot; &amp;lt;\">\n<td>a</td>\n</tr>");
        assert_eq!((&*second.key, &*second.html), ("b", "<tr data-key=\"b\"></tr>"));
        assert!(Region::of("rows", "\n").parts.is_empty());
    }
}
