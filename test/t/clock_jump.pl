
# A server whose clock jumps: a day and two months ahead, then back. What was
# decided under the wrong clock stays booked; from then on the clock decides, in
# every window, and nothing that was spent is forgotten, then nor when the time
# comes that the clock had been at.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use JumpingClock;
use Session;
use Test::More;

plan(skip_all => JumpingClock::missing()) if JumpingClock::missing();

my $plain  = "'00000000-0000-4000-8000-00000000000a'";
my $capped = "'00000000-0000-4000-8000-00000000000b'";
my $member = "'00000000-0000-4000-8000-00000000000c'";
my $slept  = "'00000000-0000-4000-8000-00000000000d'";

# Noon of the 10th, so that neither day nor month turns while the test runs.
my $noon = '2031-03-10 12:00:00';

my $clock   = JumpingClock->new('clock', $noon);
my $session = Session->new($clock->node);

sub says
{
	my ($sql, $expected, $name) = @_;

	is(join(' ', map { $_ // '-' } @{ $session->row($sql) // ['nothing'] }), $expected, $name);
	return;
}

# is_sound looks at all that must be true of the accounts at every moment.
sub is_sound
{
	my ($when) = @_;

	foreach my $account ($plain, $capped, $slept)
	{
		says("SELECT b.balance = ducto_balance_at($account, clock_timestamp()) FROM ducto_get_balance($account) b", 't',
			"$when: the balance is that of this moment");
	}
	return;
}

says("SELECT date_trunc('minute', clock_timestamp())", '2031-03-10 12:00:00+00', 'the clock is ours');
$session->run(qq{
	SELECT ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {"small": {"name": "Small", "free_allowance": 20}}}');
	SELECT ducto_add_credits($plain, 100, 'purchase');
	SELECT ducto_add_credits($plain, 30, 'promo', expires_at => clock_timestamp() + interval '90 days');
	SELECT ducto_add_credits($slept, 50, 'promo', expires_at => clock_timestamp() + interval '1 day');
	SELECT ducto_add_credits($capped, 1000, 'purchase');
	SELECT ducto_set_user_plan($capped, 'small');
	SELECT ducto_set_spend_cap($capped, 'daily', 10);
	SELECT ducto_set_spend_cap($capped, 'monthly', 30, model => 'gpt')});
my $team = $session->value("SELECT team_id FROM ducto_create_team('Ahead', 100)");
$session->run("SELECT ducto_add_team_member('$team', $member, spend_cap => 10)");
says("SELECT amount, error FROM ducto_charge($plain, 1)", '1.0000 -', 'a charge');
says("SELECT amount, allowance_consumed, error FROM ducto_charge($capped, 27, model => 'gpt')", '7.0000 20.0000 -', '... beyond the allowance');
says("SELECT amount, error FROM ducto_deduct_team('$team', $member, 7)", '7.0000 -', '... of a member');

# Two months ahead.
$clock->set('2031-05-11 12:00:00');
says("SELECT amount, error FROM ducto_charge($plain, 1)", '1.0000 -', 'ahead: a charge');
says("SELECT amount, allowance_consumed, error FROM ducto_charge($capped, 24, model => 'gpt')", '4.0000 20.0000 -', '... with the allowance of May');
says("SELECT amount, error FROM ducto_charge($capped, 7)", '7.0000 cap_reached', '... within the cap of its day');
says("SELECT amount, error FROM ducto_deduct_team('$team', $member, 4)", '4.0000 -', '... of a member');
says("SELECT reserved FROM ducto_reserve($plain, 5)", '5.0000', 'ahead: a hold');
is_sound('ahead');

# Back.
$clock->set('2031-03-10 13:00:00');
is(join(', ', $session->run('SELECT DISTINCT check_name FROM ducto_verify()')), 'ahead of the clock', 'set back: the auditor sees it');
is($session->value('SELECT count(*) FROM ducto_verify()'), 3, '... of each account');
is_sound('set back');
says("SELECT balance, reserved FROM ducto_get_balance($slept)", '50.0000 0.0000', 'set back: credit that nobody touched lives');
says("SELECT affordable, allowance_remaining, reason FROM ducto_can_afford($capped, 4)", 'f 0.0000 cap_reached', 'set back: what was spent that day counts');
says("SELECT amount, error FROM ducto_charge($capped, 4)", '4.0000 cap_reached', '... for a charge too');
says("SELECT current_spend FROM ducto_check_spend_cap($capped)", '7.0000', '... which changed nothing');
says("SELECT amount, error FROM ducto_charge($capped, 3)", '3.0000 -', '... up to the cap');
says("SELECT allowance_used, period_start FROM ducto_check_allowance($capped)", '20.0000 2031-03-01', 'set back: the allowance is that of March');
says("SELECT amount, error FROM ducto_deduct_team('$team', $member, 4)", '4.0000 cap_reached', 'set back: a member keeps what was spent');
says("SELECT amount, error FROM ducto_deduct_team('$team', $member, 3)", '3.0000 -', '... up to the cap');
says("SELECT expires_at - clock_timestamp() < interval '10 minutes' FROM ducto_reserve($plain, 5)", 't', 'set back: a hold lasts as long as it should');
says("SELECT error FROM ducto_add_credits($plain, 10, 'promo', expires_at => '2031-03-11')", '-', 'set back: credit may expire tomorrow');
says("SELECT balance_after FROM ducto_charge($plain, 1)", '137.0000', 'set back: a charge');
is_sound('set back, and used');
is(join(', ', $session->run('SELECT * FROM ducto_verify()')), '', '... and the auditor finds nothing');
is($session->value('SELECT count(*) FROM (SELECT created_at < lag(created_at) OVER (PARTITION BY account_id ORDER BY seq) AS back FROM ducto.ledger) l WHERE back'),
	0, 'no created_at goes back');

# The clock that runs as it should: the next day, and the day that it had been at.
$clock->set('2031-03-11 12:30:00');
says("SELECT balance, reserved FROM ducto_get_balance($plain)", '128.0000 5.0000', 'the next day: what should has expired, a hold of the wrong clock has not');
says("SELECT balance FROM ducto_get_balance($slept)", '0.0000', '... and of all accounts');
says("SELECT current_spend FROM ducto_check_spend_cap($capped)", '0.0000', '... a new day has its cap');
says("SELECT amount, error FROM ducto_charge($capped, 10)", '10.0000 -', '... to spend up to');
is_sound('the next day');
is(join(', ', $session->run('SELECT * FROM ducto_verify()')), '', '... and the auditor finds nothing');

$clock->set('2031-05-11 11:00:00');
says("SELECT current_spend FROM ducto_check_spend_cap($capped)", '4.0000', 'the day that the clock had been at: what was spent then counts');
says("SELECT amount, error FROM ducto_charge($capped, 7, skip_allowance => true)", '7.0000 cap_reached', '... against the cap');
says("SELECT allowance_used FROM ducto_check_allowance($capped)", '20.0000', '... and of the allowance');
says("SELECT amount, error FROM ducto_charge($capped, 6)", '6.0000 -', '... up to the cap');
says("SELECT total_spent FROM ducto_get_team_members('$team')", '4.0000', '... and of a member');
says("SELECT amount, error FROM ducto_deduct_team('$team', $member, 7)", '7.0000 cap_reached', '... against theirs');
says("SELECT plain FROM ducto.accounts WHERE id = $plain", 'f', 'until then an account goes step by step');

$clock->set('2031-05-11 13:00:00');
says("SELECT error FROM ducto_charge($plain, 1)", '-', 'after it');
says("SELECT plain FROM ducto.accounts WHERE id = $plain", 't', '... no longer');
says("SELECT created_at = effective_at FROM ducto.ledger WHERE account_id = $plain ORDER BY seq DESC LIMIT 1", 't', '... and an entry has one time');
is_sound('after it');
says('SELECT expired_count FROM ducto_sweep_expired()', '1', 'a sweep');
is(join(', ', $session->run('SELECT * FROM ducto_verify()')), '', 'the auditor finds nothing');
is($session->value("SELECT count(*) FROM ducto.ledger l WHERE type <> 'expiry' AND balance_after <> ducto_balance_at(account_id, effective_at)"
		. " AND effective_at < '2031-05-11' AND account_id = $plain"), 0, 'the balance at each moment is what was left then');

# What the operator does who does not want to wait for the next operation.
$clock->set('2031-06-11 13:00:00');
$session->run("SELECT ducto_charge($plain, 1)");
$clock->set('2031-05-11 14:00:00');
is(join(', ', $session->run('SELECT check_name FROM ducto_verify()')), 'ahead of the clock', 'ahead again');
says("SELECT mended FROM ducto_repair($plain, dry_run => false)", 't', '... and mended');
is(join(', ', $session->run('SELECT * FROM ducto_verify()')), '', '... the auditor finds nothing');
is_sound('mended');

$session->quit;
$clock->node->stop;
done_testing();
