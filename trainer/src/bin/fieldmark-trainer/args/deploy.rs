//! What `deploy` can be told.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use fieldmark_boards::BOARDS;

/// `deploy`.
#[derive(Args)]
pub struct DeployArgs {
    /// Kind of board
    #[arg(long, value_parser = PossibleValuesParser::new(BOARDS.iter().map(|board| board.name)))]
    pub board: String,
    /// 32 if a board that can have either has a 32-bit system
    #[arg(long)]
    pub bits: Option<u8>,
    /// The board, as ssh reaches it: user@host, or a name from your ssh configuration
    pub host: String,
    /// Model files
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    /// The program `fieldmark` for that board, or a released archive (fieldmark-*.tar.gz) that has it
    #[arg(long, value_name = "FILE")]
    pub program: PathBuf,
    /// Folder there for the program, from the user's home folder there
    #[arg(long, value_name = "DIR", default_value = ".local/bin")]
    pub to: String,
    /// Folder there for the models, from the user's home folder there
    #[arg(long, value_name = "DIR", default_value = ".local/share/fieldmark")]
    pub models_to: String,
    /// ssh configuration to use instead of yours
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
    /// Print what would be run, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
