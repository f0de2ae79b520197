//! The document in Markdown, without its plots.

use super::document::{Block, Table};

pub(crate) fn render(document: &[Block]) -> String {
    let blocks: Vec<String> = document.iter().filter_map(block).collect();
    blocks.join("\n\n") + "\n"
}

fn block(block: &Block) -> Option<String> {
    match block {
        Block::Heading(level, text) => Some(format!("{} {text}", "#".repeat((*level).into()))),
        Block::Text(text) => Some(text.clone()),
        Block::List(items) => Some(list(items.iter().cloned())),
        Block::Code(lines) => Some(format!("```\n{}\n```", lines.join("\n"))),
        Block::Table(table) => Some(markdown_table(table)),
        Block::Verdicts(verdicts) if verdicts.is_empty() => None,
        Block::Verdicts(verdicts) => Some(list(
            verdicts.iter().map(|verdict| format!("{}: **{}**", verdict.expectation, verdict.text)),
        )),
        Block::Plot { .. } => None,
        Block::Pictures(pictures) => {
            let image = |picture: &super::report::Picture| {
                format!("![{}](<{}>)", picture.caption, picture.path.display())
            };
            Some(pictures.iter().map(image).collect::<Vec<_>>().join("\n"))
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.map(|item| format!("- {item}")).collect::<Vec<_>>().join("\n")
}

fn markdown_table(table: &Table) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |", cells.join(" | "))
    };
    // Names to the left, numbers to the right.
    let rule = format!("|---|{}", "--:|".repeat(table.head.len().saturating_sub(1)));
    let rows = table.rows.iter().map(|row| line(row));
    [line(&table.head), rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::document;
    use crate::reproduce::report::made_up;

    #[test]
    fn tables_are_whole() {
        let table =
            Table { head: vec![String::new(), "a".into()], rows: vec![vec!["x|y".into(), "1".into()]] };
        assert_eq!(markdown_table(&table), "|  | a |\n|---|--:|\n| x\\|y | 1 |");
    }

    #[test]
    fn everything_of_the_report_is_there() {
        let text = render(&document::of(&made_up::report()).unwrap());
        for part in [
            "## Embedded set: animals with a spurious cue",
            "### Does the mask matter?",
            "| full mask | 2 of 3 |",
            "**shown (80.3 ± 3.8 % over 3 seeds against 61.0 ± 7.5 % over 3 seeds",
            "**not shown: intervals overlap",
            "always answers the most frequent class has a top-1 accuracy of 50.0 %",
            "the paper's top-1, %",
            "- cub: no --data-root with a folder cub",
            "out of <memory>",
            "cargo xtask reproduce --quick",
            "Example CPU <1>, 2 cores, linux",
            "| mean curve |",
            "![edits: landbird/water](<explain/a.png>)",
            "2:51 of wall time",
        ] {
            assert!(text.contains(part), "{part} is missing from\n{text}");
        }
    }
}
