//! Descriptors as Markdown: a page for each proto, and one that lists them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use longrun::proto::DESCRIPTORS;
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};

/// A page, without its `.md`, and the proto that it shows.
pub(crate) struct Page {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
}

const NOTE: &str = "<!-- Made of the comments in proto/ by tests/reference: change those. -->\n\n";
const WELL_KNOWN: &str = "https://protobuf.dev/reference/protobuf/google.protobuf/";

/// All pages.
pub(crate) struct Reference {
    files: Vec<(&'static str, FileDescriptor)>,
    /// The page of each package's message or enum, by full name.
    page_of: BTreeMap<String, &'static str>,
}

impl Reference {
    pub(crate) fn new(pages: &[Page]) -> Self {
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        let files = pages.iter().map(|page| {
            let file = pool.get_file_by_name(page.file);
            (page.name, file.unwrap_or_else(|| panic!("there is no {}", page.file)))
        });
        let files: Vec<_> = files.collect();
        let mut page_of = BTreeMap::new();
        for (page, file) in &files {
            let messages = messages(file).into_iter().map(|it| it.full_name().to_owned());
            let enums = enums(file).into_iter().map(|it| it.full_name().to_owned());
            page_of.extend(messages.chain(enums).map(|name| (name, *page)));
        }
        Self { files, page_of }
    }

    /// Names and texts.
    pub(crate) fn pages(&self) -> Vec<(String, String)> {
        let pages = self.files.iter().map(|(name, file)| (format!("{name}.md"), self.page(file)));
        std::iter::once(("README.md".to_owned(), self.index())).chain(pages).collect()
    }

    fn index(&self) -> String {
        let mut text = format!(
            "{NOTE}# gRPC reference\n\nThe messages and services of the server, as `proto/` has them and reflection \
             describes them. Over HTTP\nthe fields have their names in camelCase ([HTTP](../http.md)); reasons of errors \
             are in [Errors](../errors.md).\n\n| page | package | what it has |\n| --- | --- | --- |\n"
        );
        for (page, file) in &self.files {
            let services: Vec<_> = file.services().collect();
            let methods = services.iter().flat_map(|service| {
                service.methods().map(|method| {
                    let (name, anchor) = (method.name().to_owned(), method_anchor(&method));
                    format!("[{name}]({page}.md#{anchor})")
                })
            });
            let methods = methods.collect::<Vec<_>>().join(", ");
            let about = if methods.is_empty() {
                let messages = file.messages();
                let all = messages
                    .map(|it| format!("[{0}]({page}.md#{1})", it.name(), anchor(it.name())));
                all.collect::<Vec<_>>().join(", ")
            } else {
                methods
            };
            let package = file.package_name();
            writeln!(text, "| [{page}]({page}.md) | `{package}` | {about} |").unwrap();
        }
        text
    }

    fn page(&self, file: &FileDescriptor) -> String {
        let mut text = format!("{NOTE}# {}\n\n", file.name());
        // The comment of a file is the one before its package.
        section(&mut text, &comment(file, &[2]));
        section(&mut text, &comment(file, &[12]));
        for service in file.services() {
            self.service(&mut text, file, &service);
        }
        text.push_str("## Messages\n\n");
        let mut all: Vec<(String, String)> = Vec::new();
        for message in messages(file) {
            all.push((local_name(file, message.full_name()), self.message(file, &message)));
        }
        for values in enums(file) {
            all.push((local_name(file, values.full_name()), self.values(file, &values)));
        }
        all.sort();
        for (name, body) in all {
            write!(text, "### {name}\n\n{body}").unwrap();
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }

    fn service(&self, text: &mut String, file: &FileDescriptor, service: &ServiceDescriptor) {
        write!(text, "## Service {}\n\n", service.name()).unwrap();
        section(text, &comment(file, service.path()));
        for method in service.methods() {
            let stream = |is: bool| if is { "stream of " } else { "" };
            let takes = self.message_link(file, &method.input());
            let gives = self.message_link(file, &method.output());
            let (client, server) =
                (stream(method.is_client_streaming()), stream(method.is_server_streaming()));
            let path = format!("/{}/{}", service.full_name(), method.name());
            write!(text, "### {}.{}\n\n", service.name(), method.name()).unwrap();
            write!(text, "`{path}`: takes {client}{takes}, returns {server}{gives}.\n\n").unwrap();
            section(text, &comment(file, method.path()));
        }
    }

    fn message(&self, file: &FileDescriptor, message: &MessageDescriptor) -> String {
        let mut text = String::new();
        section(&mut text, &comment(file, message.path()));
        if message.fields().len() > 0 {
            text.push_str("| field | number | type | |\n| --- | --- | --- | --- |\n");
            let mut fields: Vec<_> = message.fields().collect();
            fields.sort_by_key(|field| field.path().last().copied());
            for field in fields {
                let about = cell(&comment(file, field.path()));
                let (name, number) = (field.name(), field.number());
                let kind = self.field_type(file, &field);
                writeln!(text, "| `{name}` | {number} | {kind} | {about} |").unwrap();
            }
            text.push('\n');
        }
        text
    }

    fn values(&self, file: &FileDescriptor, values: &EnumDescriptor) -> String {
        let mut text = String::new();
        section(&mut text, &comment(file, values.path()));
        text.push_str("| value | number | |\n| --- | --- | --- |\n");
        for value in values.values() {
            let about = cell(&comment(file, value.path()));
            writeln!(text, "| `{}` | {} | {about} |", value.name(), value.number()).unwrap();
        }
        text.push('\n');
        text
    }

    fn field_type(&self, file: &FileDescriptor, field: &FieldDescriptor) -> String {
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let key = self.kind(file, &entry.map_entry_key_field().kind());
            let value = self.kind(file, &entry.map_entry_value_field().kind());
            return format!("map of {key} to {value}");
        }
        let kind = self.kind(file, &field.kind());
        let choice = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        if field.is_list() {
            format!("repeated {kind}")
        } else if let Some(oneof) = choice {
            format!("{kind}, one of `{}`", oneof.name())
        } else if field.field_descriptor_proto().proto3_optional() {
            format!("optional {kind}")
        } else {
            kind
        }
    }

    fn kind(&self, file: &FileDescriptor, kind: &Kind) -> String {
        match kind {
            Kind::Message(message) => self.message_link(file, message),
            Kind::Enum(values) => self.link(file, values.full_name()),
            scalar => format!("{scalar:?}").to_lowercase(),
        }
    }

    fn message_link(&self, file: &FileDescriptor, message: &MessageDescriptor) -> String {
        self.link(file, message.full_name())
    }

    fn link(&self, file: &FileDescriptor, full_name: &str) -> String {
        if let Some(name) = full_name.strip_prefix("google.protobuf.") {
            return format!("[{name}]({WELL_KNOWN}#{})", anchor(name));
        }
        let page = self.page_of.get(full_name);
        let page = page.unwrap_or_else(|| panic!("{full_name} is on no page"));
        let own = self.files.iter().any(|(name, it)| name == page && it == file);
        let home = self.files.iter().find(|(name, _)| name == page);
        let name = home.map_or_else(String::new, |(_, home)| local_name(home, full_name));
        let shown = if home.is_some_and(|(_, home)| home.package_name() == file.package_name()) {
            &name
        } else {
            full_name
        };
        let place = if own { String::new() } else { format!("{page}.md") };
        format!("[{shown}]({place}#{})", anchor(&name))
    }
}

/// The file's messages and those within them, without the entries of maps.
fn messages(file: &FileDescriptor) -> Vec<MessageDescriptor> {
    let mut found = Vec::new();
    let mut open: Vec<_> = file.messages().collect();
    while let Some(message) = open.pop() {
        open.extend(message.child_messages().filter(|it| !it.is_map_entry()));
        found.push(message);
    }
    found
}

fn enums(file: &FileDescriptor) -> Vec<EnumDescriptor> {
    let within = messages(file).into_iter().flat_map(|it| it.child_enums().collect::<Vec<_>>());
    file.enums().chain(within).collect()
}

fn local_name(file: &FileDescriptor, full_name: &str) -> String {
    full_name[file.package_name().len() + 1..].to_owned()
}

fn method_anchor(method: &MethodDescriptor) -> String {
    anchor(&format!("{}.{}", method.parent_service().name(), method.name()))
}

/// The anchor that renderers of Markdown give to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The anchors of all headings of a page.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

/// Where the links of a page lead, as far as they stay within the pages.
pub(crate) fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target).filter(|target| !target.contains("://"))
}

/// The comment before the element at `path`, without the marks of a comment.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let source = file.file_descriptor_proto().source_code_info.as_ref();
    let mut places = source.into_iter().flat_map(|source| &source.location);
    let place = places.find(|place| place.path == path);
    let detached = place.into_iter().flat_map(|it| it.leading_detached_comments.iter());
    let is_file = path.len() == 1;
    let texts = detached.filter(|_| is_file).map(String::as_str);
    let texts = texts.chain(place.map(|it| it.leading_comments()));
    let texts: Vec<_> = texts
        .map(|text| {
            let lines = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
            lines.collect::<Vec<_>>().join("\n").trim().to_owned()
        })
        .filter(|text| !text.is_empty())
        .collect();
    texts.join("\n\n")
}

/// A comment as paragraphs; what it indents stays as it is.
fn section(text: &mut String, comment: &str) {
    let mut in_block = false;
    for line in comment.lines() {
        let indented = line.starts_with("  ");
        if indented != in_block && !line.is_empty() {
            text.push_str(if indented { "```text\n" } else { "```\n" });
            in_block = indented;
        }
        text.push_str(line.strip_prefix("  ").unwrap_or(line));
        text.push('\n');
    }
    if in_block {
        text.push_str("```\n");
    }
    if !comment.is_empty() {
        text.push('\n');
    }
}

/// A comment as the cell of a table.
fn cell(comment: &str) -> String {
    let paragraphs = comment.split("\n\n").map(|it| it.replace('\n', " ").replace('|', "\\|"));
    paragraphs.collect::<Vec<_>>().join("<br>")
}
