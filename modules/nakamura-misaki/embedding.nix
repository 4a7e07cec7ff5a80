# What turns notes into vectors.
{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.nakamura-misaki;
  optionTypes = import ./option-types.nix { inherit lib; };
in
{
  options.services.nakamura-misaki.embedding = {
    provider = mkOption {
      type = types.enum [
        "hashing"
        "openai"
      ];
      default =
        if cfg.embedding.apiKeyFile != null || cfg.embedding.baseUrl != null then "openai" else "hashing";
      defaultText = lib.literalMD "`openai` if {option}`apiKeyFile` or {option}`baseUrl` is set, else `hashing`";
      example = "openai";
      description = ''
        `openai` is OpenAI or any server that speaks its protocol. `hashing` needs no network and
        no key, and finds what is spelled alike rather than what means the same.
      '';
    };

    model = mkOption {
      type = types.nullOr types.nonEmptyStr;
      default = null;
      example = "text-embedding-3-large";
      description = ''
        The model of the provider `openai`; `null` is `text-embedding-3-small`. A change takes
        effect only after `nakamura-misaki reembed`: see "Another model" in docs/operations.md.
      '';
    };

    dimensions = mkOption {
      type = types.nullOr (types.ints.between 1 4000);
      default = null;
      example = 512;
      description = "How long a vector is; `null` is what the model has by itself.";
    };

    baseUrl = mkOption {
      type = types.nullOr types.nonEmptyStr;
      default = null;
      example = "http://localhost:11434/v1";
      description = "A server that speaks OpenAI's protocol (Ollama, vLLM, llama.cpp); `null` is OpenAI.";
    };

    apiKeyFile = mkOption {
      type = optionTypes.secretFile;
      default = null;
      example = "/run/secrets/nakamura-misaki/openai-api-key";
      description = "A file with the key for it.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.nakamura-misaki = {
      environment = {
        EMBEDDING_PROVIDER = cfg.embedding.provider;
      }
      // lib.optionalAttrs (cfg.embedding.model != null) { EMBEDDING_MODEL = cfg.embedding.model; }
      // lib.optionalAttrs (cfg.embedding.dimensions != null) {
        EMBEDDING_DIMENSIONS = toString cfg.embedding.dimensions;
      }
      // lib.optionalAttrs (cfg.embedding.baseUrl != null) { OPENAI_BASE_URL = cfg.embedding.baseUrl; };
      credentials = lib.optionalAttrs (cfg.embedding.apiKeyFile != null) {
        openai-api-key = cfg.embedding.apiKeyFile;
      };
    };

    assertions = [
      {
        assertion =
          cfg.embedding.provider != "openai"
          || cfg.embedding.apiKeyFile != null
          || cfg.embedding.baseUrl != null;
        message = "services.nakamura-misaki.embedding.provider is openai: set embedding.apiKeyFile to the file with the key, or embedding.baseUrl to a server of your own.";
      }
      {
        assertion = cfg.embedding.model == null || cfg.embedding.provider == "openai";
        message = "services.nakamura-misaki.embedding.model is set, but the provider is hashing, which has no models: leave it out, or set embedding.apiKeyFile or embedding.baseUrl.";
      }
      {
        assertion =
          cfg.embedding.baseUrl == null || lib.match "https?://[^/@]+(/.*)?" cfg.embedding.baseUrl != null;
        message = ''services.nakamura-misaki.embedding.baseUrl is "${toString cfg.embedding.baseUrl}"; it must look like http://localhost:11434/v1 and hold no user or password: the key goes to embedding.apiKeyFile.'';
      }
    ];
  };
}
