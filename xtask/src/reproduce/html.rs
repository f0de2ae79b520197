//! The document as one HTML page that needs no other file.

use std::fmt::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::document::{Block, Table};
use super::report::Picture;
use super::verdict::{Finding, Verdict};

const STYLE: &str = include_str!("style.css");

/// Pictures are read from `folder`, in which the report lies; one that cannot be read is left out.
pub(crate) fn render(document: &[Block], folder: &Path) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escaped(title(document))
    );
    for block in document {
        page += &html_block(block, folder);
        page.push('\n');
    }
    page + "</main>\n</body>\n</html>\n"
}

fn title(document: &[Block]) -> &str {
    let first = document.iter().find_map(|block| match block {
        Block::Heading(1, text) => Some(text.as_str()),
        _ => None,
    });
    first.unwrap_or("Report")
}

fn html_block(block: &Block, folder: &Path) -> String {
    match block {
        Block::Heading(level, text) => format!("<h{level}>{}</h{level}>", escaped(text)),
        Block::Text(text) => format!("<p>{}</p>", escaped(text)),
        Block::List(items) => {
            let items =
                items.iter().fold(String::new(), |html, item| html + "<li>" + &escaped(item) + "</li>");
            format!("<ul>{items}</ul>")
        }
        Block::Code(lines) => format!("<pre>{}</pre>", escaped(&lines.join("\n"))),
        Block::Table(table) => html_table(table),
        Block::Verdicts(verdicts) => verdicts.iter().map(verdict).collect(),
        Block::Plot { svg, caption } => {
            format!("<figure>{svg}<figcaption>{}</figcaption></figure>", escaped(caption))
        }
        Block::Pictures(all) => {
            format!(
                "<div class=\"pictures\">{}</div>",
                all.iter().filter_map(|p| picture(p, folder)).collect::<String>()
            )
        }
    }
}

fn verdict(verdict: &Verdict) -> String {
    let class = match verdict.finding {
        Finding::Shown => "shown",
        Finding::NotShown => "not-shown",
        Finding::Contradicted => "contradicted",
        Finding::NotMeasured => "not-measured",
    };
    // The badge says the finding already.
    let phrase = verdict.finding.phrase();
    let detail = verdict.text.strip_prefix(phrase).unwrap_or(&verdict.text).trim_start_matches([':', ' ']);
    format!(
        "<div class=\"verdict\"><span class=\"badge {class}\">{phrase}</span> <span>{} <small>{}</small></span></div>",
        escaped(&verdict.expectation),
        escaped(detail)
    )
}

fn html_table(table: &Table) -> String {
    let mut html = String::from("<div class=\"scroll\"><table><thead><tr>");
    for cell in &table.head {
        let _ = write!(html, "<th>{}</th>", escaped(cell));
    }
    html += "</tr></thead><tbody>";
    for row in &table.rows {
        html += "<tr>";
        for (index, cell) in row.iter().enumerate() {
            let tag = if index == 0 { "th" } else { "td" };
            let _ = write!(html, "<{tag}>{}</{tag}>", escaped(cell));
        }
        html += "</tr>";
    }
    html + "</tbody></table></div>"
}

fn picture(picture: &Picture, folder: &Path) -> Option<String> {
    let bytes = std::fs::read(folder.join(&picture.path)).ok()?;
    let caption = escaped(&picture.caption);
    let data = STANDARD.encode(bytes);
    Some(format!(
        "<figure><img alt=\"{caption}\" src=\"data:image/png;base64,{data}\"><figcaption>{caption}</figcaption></figure>"
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::document;
    use crate::reproduce::report::made_up;

    fn page(folder: &Path) -> String {
        render(&document::of(&made_up::report()).unwrap(), folder)
    }

    #[test]
    fn every_section_is_there_and_nothing_is_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let report = made_up::report();
        let page = page(folder.path());
        for experiment in &report.sets[0].experiments {
            assert!(
                page.contains(&format!("<h3>{}</h3>", escaped(&experiment.title))),
                "{}",
                experiment.name
            );
        }
        for heading in ["Failed runs", "What was expected, and what came out", "How to repeat it"] {
            assert!(page.contains(&format!("<h2>{heading}</h2>")), "{heading}");
        }
        assert_eq!(page.matches("<svg").count(), 5, "a plot for each experiment");
        for fetched in ["http:", "https:", "src=\"//", "@import", "<script", "<link"] {
            assert!(!page.contains(fetched), "{fetched}");
        }
    }

    #[test]
    fn pictures_are_embedded_and_text_is_escaped() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("explain")).unwrap();
        std::fs::write(folder.path().join("explain/a.png"), b"not really").unwrap();
        let page = page(folder.path());
        assert_eq!(
            page.matches("data:image/png;base64,bm90IHJlYWxseQ==").count(),
            1,
            "one read, one missing"
        );
        assert!(page.contains("out of &lt;memory&gt;") && !page.contains("<memory>"));
    }

    #[test]
    fn a_verdict_says_its_finding_once() {
        let html = verdict(&Verdict {
            expectation: "a above b".into(),
            finding: Finding::NotShown,
            text: "not shown: intervals overlap (1 against 2)".into(),
        });
        assert_eq!(html.matches("not shown").count(), 1);
        assert!(html.contains("<small>intervals overlap (1 against 2)</small>"), "{html}");
    }
}
