# Every setting of the program by its name in the environment, and what sets it here.
# tests/unit/test_nixos_settings.py holds this list to the program's own.
{
  # services.nakamura-misaki.settings may set these.
  free = [
    "API_MAX_BODY_BYTES"
    "EMBEDDING_MAX_INPUT_TOKENS"
    "EMBEDDING_QUERY_TIMEOUT"
    "EMBEDDING_TIMEOUT"
    "LOG_FORMAT"
    "LOG_LEVEL"
    "POOL_TIMEOUT"
    "SLACK_API_URL"
    "SLOW_QUERY_SECONDS"
    "STARTUP_TIMEOUT"
  ];

  # These have an option of their own, which knows what else depends on them.
  dedicated = {
    API_HOST = "api.host";
    API_PORT = "api.port";
    BACKUP_DIR = "backup.location";
    BACKUP_KEEP = "backup.keep";
    BACKUP_STATUS_FILE = "backup.enable";
    EMBEDDING_DIMENSIONS = "embedding.dimensions";
    EMBEDDING_MODEL = "embedding.model";
    EMBEDDING_PROVIDER = "embedding.provider";
    JSON_DATA_DIR = "storage.jsonDataDir";
    MAX_OVERFLOW = "database.maxOverflow";
    NAKAMURA_MISAKI_DATA_DIR = "database.createLocally";
    OPENAI_BASE_URL = "embedding.baseUrl";
    POOL_SIZE = "database.poolSize";
    POSTGRESQL_PROGRAMS = "database.clientPackage";
    REMINDER_LEAD_MINUTES = "reminders.leadMinutes";
    SESSION_RETENTION_DAYS = "retention.days";
    SLACK_MODE = "slack.mode";
    STORAGE_BACKEND = "storage.backend";
    TIME_ZONE = "timeZone";
    WORKSPACE_ID = "workspaceId";
  };

  # Secrets, or what may hold one: files that reach the units as credentials.
  secret = {
    API_TOKENS = "api.tokensFile";
    DATABASE_ADMIN_URL = "database.adminUrlFile";
    DATABASE_OWNER_URL = "database.ownerUrlFile";
    DATABASE_URL = "database.urlFile";
    OPENAI_API_KEY = "embedding.apiKeyFile";
    SLACK_APP_TOKEN = "slack.appTokenFile";
    SLACK_BOT_TOKEN = "slack.botTokenFile";
    SLACK_SIGNING_SECRET = "slack.signingSecretFile";
  };
}
