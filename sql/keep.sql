-- keep: rows that nobody removes by hand, the owner neither.

CREATE FUNCTION ducto.refuse_removal() RETURNS trigger
LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_refuse_removal';
REVOKE ALL ON FUNCTION ducto.refuse_removal() FROM PUBLIC;
COMMENT ON FUNCTION ducto.refuse_removal() IS
'Trigger function: refuses DELETE and TRUNCATE (55000), unless a function of ducto removes what it is to remove.';

CREATE TRIGGER accounts_kept BEFORE DELETE OR TRUNCATE ON ducto.accounts
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER grants_kept BEFORE DELETE OR TRUNCATE ON ducto.grants
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER reservations_kept BEFORE DELETE OR TRUNCATE ON ducto.reservations
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER spend_caps_kept BEFORE DELETE OR TRUNCATE ON ducto.spend_caps
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER teams_kept BEFORE DELETE OR TRUNCATE ON ducto.teams
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER team_keys_kept BEFORE DELETE OR TRUNCATE ON ducto.team_keys
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER team_members_kept BEFORE DELETE OR TRUNCATE ON ducto.team_members
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER plans_kept BEFORE DELETE OR TRUNCATE ON ducto.plans
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER plan_allowances_kept BEFORE DELETE OR TRUNCATE ON ducto.plan_allowances
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER pricing_kept BEFORE DELETE OR TRUNCATE ON ducto.pricing
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER events_kept BEFORE DELETE OR TRUNCATE ON ducto.events
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER alerts_kept BEFORE DELETE OR TRUNCATE ON ducto.alerts
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
CREATE TRIGGER test_clock_kept BEFORE DELETE OR TRUNCATE ON ducto.test_clock
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.refuse_removal();
ALTER TABLE ducto.test_clock ENABLE ALWAYS TRIGGER test_clock_kept;
ALTER TABLE ducto.accounts ENABLE ALWAYS TRIGGER accounts_kept;
ALTER TABLE ducto.events ENABLE ALWAYS TRIGGER events_kept;
ALTER TABLE ducto.alerts ENABLE ALWAYS TRIGGER alerts_kept;
ALTER TABLE ducto.grants ENABLE ALWAYS TRIGGER grants_kept;
ALTER TABLE ducto.reservations ENABLE ALWAYS TRIGGER reservations_kept;
ALTER TABLE ducto.spend_caps ENABLE ALWAYS TRIGGER spend_caps_kept;
ALTER TABLE ducto.teams ENABLE ALWAYS TRIGGER teams_kept;
ALTER TABLE ducto.team_keys ENABLE ALWAYS TRIGGER team_keys_kept;
ALTER TABLE ducto.team_members ENABLE ALWAYS TRIGGER team_members_kept;
ALTER TABLE ducto.plans ENABLE ALWAYS TRIGGER plans_kept;
ALTER TABLE ducto.plan_allowances ENABLE ALWAYS TRIGGER plan_allowances_kept;
ALTER TABLE ducto.pricing ENABLE ALWAYS TRIGGER pricing_kept;
