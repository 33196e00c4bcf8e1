//! The command line: `hera run | crds | rbac | version`.
//!
//! Exit codes: 0 after a clean stop, 1 when the process cannot go on, 2 for a setting or argument that cannot be used.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, error::ErrorKind};

use crate::{
    manager::{self, telemetry},
    operators::{
        self,
        manifests::{self, File},
    },
    settings::Settings,
};

/// A setting or argument cannot be used.
const BAD_USAGE: u8 = 2;
/// The process could not start, or had to end.
const FAILED: u8 = 1;

#[derive(Debug, Parser)]
#[command(name = "hera", version = crate::VERSION, about = "Kubernetes operators in one process")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operators
    Run(Box<Settings>),
    /// Print the CustomResourceDefinitions, or write them to a directory
    Crds(Output),
    /// Print the ClusterRole that the operators need, or write all roles to a directory
    Rbac(Output),
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
struct Output {
    /// Directory to write one file each to; when absent, everything is printed
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Settings(#[from] crate::settings::SettingsError),
    #[error(transparent)]
    Filter(#[from] telemetry::FilterError),
    #[error(transparent)]
    Run(manager::Error),
    #[error(transparent)]
    Manifests(#[from] manifests::Error),
    #[error("cannot write {path}: {source}")]
    Write {
        path: String,
        source: std::io::Error,
    },
    #[error("cannot start threads: {0}")]
    Runtime(std::io::Error),
}

impl From<manager::Error> for Error {
    fn from(error: manager::Error) -> Self {
        match error {
            manager::Error::Settings(error) => Self::Settings(error),
            error => Self::Run(error),
        }
    }
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Filter(_) => BAD_USAGE,
            _ => FAILED,
        }
    }
}

/// Runs the command that the arguments of the process ask for.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            error.exit();
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return ExitCode::from(BAD_USAGE);
        }
        Err(error) => return complain(&first_line(&error.to_string()), BAD_USAGE),
    };
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), error.exit_code()),
    }
}

/// One line on standard error, whatever the log is set to.
fn complain(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "hera: {message}");
    ExitCode::from(code)
}

/// The first line of an error of the parser, which adds usage and tips, without its prefix.
fn first_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    // "the following required arguments were not provided:" goes on in the next line.
    let next = if first.ends_with(':') {
        lines.next()
    } else {
        None
    };
    let line = [Some(first), next]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    line.strip_prefix("error: ")
        .map_or_else(|| line.clone(), ToOwned::to_owned)
}

fn execute(command: Command) -> Result<(), Error> {
    match command {
        Command::Run(settings) => run(*settings),
        Command::Crds(Output { out: None }) => print(&manifests::crd_stream(&operators::crds())?),
        Command::Crds(Output {
            out: Some(directory),
        }) => write(&directory, &manifests::crd_files(&operators::crds())?),
        Command::Rbac(Output { out: None }) => print(&manifests::manager_role(&operators::rbac())?),
        Command::Rbac(Output {
            out: Some(directory),
        }) => write(
            &directory,
            &manifests::rbac_files(&operators::crds(), &operators::rbac())?,
        ),
        Command::Version => print(&format!("hera {} ({})\n", crate::VERSION, crate::COMMIT)),
    }
}

fn run(settings: Settings) -> Result<(), Error> {
    settings.validate()?;
    let log_filter = telemetry::start(settings.log_format, &settings.log_filter)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let result = runtime.block_on(manager::run(settings, operators::registry(), log_filter));
    match &result {
        // The one line on standard error says it all.
        Ok(()) | Err(manager::Error::Settings(_)) => {}
        Err(error) => tracing::error!(%error, "hera ends"),
    }
    // What still runs must not go on for one step more: the Lease may be somebody else's.
    runtime.shutdown_background();
    Ok(result?)
}

fn print(text: &str) -> Result<(), Error> {
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|source| Error::Write {
        path: "standard output".to_owned(),
        source,
    })
}

/// Writes the files into `directory`, by their own names: their paths say where they are in the repository.
fn write(directory: &Path, files: &[File]) -> Result<(), Error> {
    let problem = |path: &Path| {
        let path = path.display().to_string();
        |source| Error::Write { path, source }
    };
    std::fs::create_dir_all(directory).map_err(problem(directory))?;
    for file in files {
        let name = Path::new(&file.path).file_name().unwrap_or_default();
        let path = directory.join(name);
        std::fs::write(&path, &file.content).map_err(problem(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_bad_argument_is_one_line() {
        for (arguments, part) in [
            (["hera", "run", "--call-timeout=soon"], "--call-timeout"),
            (["hera", "run", "--no-such-flag"], "--no-such-flag"),
            (
                ["hera", "run", "--max-concurrent-calls=-1"],
                "--max-concurrent-calls",
            ),
        ] {
            let error = Cli::try_parse_from(arguments).unwrap_err();
            let line = first_line(&error.to_string());
            assert!(
                line.contains(part) && !line.contains('\n') && !line.starts_with("error"),
                "{line}"
            );
        }
    }

    #[test]
    fn bad_settings_have_their_own_exit_code() {
        let settings = crate::settings::SettingsError::new("--controllers", "unknown");
        assert_eq!(
            Error::from(manager::Error::Settings(settings)).exit_code(),
            2
        );
        assert_eq!(Error::from(manager::Error::Forced).exit_code(), 1);
    }

    #[test]
    fn crds_are_written_to_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let out = Some(directory.path().join("new"));
        execute(Command::Crds(Output { out })).unwrap();
        let count = std::fs::read_dir(directory.path().join("new"))
            .unwrap()
            .count();
        assert!(count >= operators::crds().len());
    }
}
