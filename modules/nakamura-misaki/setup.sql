-- The local server's part, as a superuser, at every start of PostgreSQL: database, roles, extension.
-- Tables and rights on them are init-db's.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['nakamura_misaki_owner', 'nakamura_misaki']) name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

-- ensureDatabases would take the cluster's encoding and locale: SQL_ASCII on a host without a locale.
-- C.UTF-8 does not change its order with the C library, which would damage indexes.
SELECT $$CREATE DATABASE nakamura_misaki OWNER nakamura_misaki_owner
  TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'$$
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'nakamura_misaki')
\gexec

ALTER DATABASE nakamura_misaki OWNER TO nakamura_misaki_owner;
REVOKE CONNECT, TEMPORARY ON DATABASE nakamura_misaki FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE nakamura_misaki TO nakamura_misaki;

\connect nakamura_misaki
SET client_min_messages = warning;
-- Not a trusted extension, so that the database's owner may neither create nor update it.
CREATE EXTENSION IF NOT EXISTS vector;
ALTER EXTENSION vector UPDATE;
