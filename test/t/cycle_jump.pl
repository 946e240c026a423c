
# A server whose clock jumps ahead by two months and back, on plans whose cycles
# give credit. What a cycle gave under the wrong clock it does not give again when
# its time comes, whatever is set or published in between; and no cycle is left out.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use JumpingClock;
use Session;
use Test::More;

plan(skip_all => JumpingClock::missing()) if JumpingClock::missing();

my ($ann, $bob, $cat) = map { "'00000000-0000-4000-8000-0000000000a$_'" } 1 .. 3;

my $clock   = JumpingClock->new('cycles', '2031-03-10 12:00:00');
my $session = Session->new($clock->node);

sub says
{
	my ($sql, $expected, $name) = @_;

	is(join(' ', map { $_ // '-' } @{ $session->row($sql) // ['nothing'] }), $expected, $name);
	return;
}

sub publish
{
	$session->run(q{SELECT ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {
		"gives": {"name": "Gives", "free_allowance": 2, "grants": [{"amount": 100}, {"amount": 7, "expires": "never"}]},
		"other": {"name": "Other", "grants": [{"amount": 50}]}}}')});
	return;
}

# given lists what the cycles of an account gave for ever, by the month in which they end.
sub given
{
	my ($account, $expected, $name) = @_;

	says("SELECT string_agg(to_char(cycle_end, 'MM') || ' ' || amount, ', ' ORDER BY cycle_end, seq) FROM ducto.ledger"
			. " WHERE account_id = $account AND cycle_end IS NOT NULL AND expires_at IS NULL", $expected, $name);
	return;
}

sub is_sound
{
	my ($when) = @_;

	is(join(', ', $session->run('SELECT * FROM ducto_verify()')), '', "$when: the auditor finds nothing");
	says("SELECT count(*) FROM (VALUES (CAST($ann AS uuid)), ($bob), ($cat)) t (who), ducto_get_balance(who) b WHERE b.balance <> ducto_balance_at(who, clock_timestamp())",
		'0', "$when: the balance is that of this moment");
	return;
}

publish();
$session->run("SELECT ducto_set_user_plan($ann, 'gives'), ducto_set_user_plan($bob, 'gives')");
says("SELECT balance FROM ducto_get_balance($ann)", '107.0000', 'March gives');

$clock->set('2031-05-11 12:00:00');
says("SELECT amount, allowance_consumed, balance_after FROM ducto_charge($ann, 3)", '1.0000 2.0000 120.0000', 'ahead: April and May give, March and April go');
says("SELECT balance FROM ducto_get_balance($bob)", '121.0000', '... to who reads only');
$session->run("SELECT ducto_set_user_plan($cat, 'gives')");
says("SELECT balance FROM ducto_get_balance($cat)", '107.0000', '... to who is new');
given($ann, '04 7.0000, 05 7.0000, 06 7.0000', 'ahead: three months have given');

$clock->set('2031-03-10 13:00:00');
says("SELECT balance FROM ducto_get_balance($bob)", '107.0000', 'set back: who did nothing has what March gave');
says("SELECT balance_after FROM ducto_charge($ann, 1, skip_allowance => true)", '119.0000', 'set back: what was given is there');
publish();
$session->run("SELECT ducto_set_user_plan($ann, '$_')") foreach qw(other gives);
$session->run("SELECT ducto_set_user_plan($ann, NULL), ducto_set_user_plan($bob, NULL), ducto_set_user_plan($ann, 'gives'), ducto_set_user_plan($bob, 'gives')");
says("SELECT balance FROM ducto_get_balance($ann)", '119.0000', '... once, whatever plan is set');
says("SELECT balance FROM ducto_get_balance($bob)", '107.0000', '... to everybody');
$session->run("SELECT ducto_charge($cat, 1, skip_allowance => true)");
is_sound('set back');

$clock->set('2031-04-02 12:00:00');
$session->run("SELECT ducto_charge($_, 1, skip_allowance => true)") foreach $ann, $bob, $cat;
given($ann, '04 7.0000, 05 7.0000, 06 7.0000', 'April comes, and has given');
given($bob, '04 7.0000, 05 7.0000', '... but not to who did nothing');
is_sound('April');

$clock->set('2031-05-12 12:00:00');
$session->run("SELECT ducto_charge($_, 1, skip_allowance => true)") foreach $ann, $bob, $cat;
given($ann, '04 7.0000, 05 7.0000, 06 7.0000', 'May comes, and has given');
given($bob, '04 7.0000, 05 7.0000, 06 7.0000', '... to everybody once');
says("SELECT balance FROM ducto_get_balance($ann)", '117.0000', '... and what it gave is there');
is_sound('May');

$clock->set('2031-06-01 00:00:00');
says("SELECT expired_count FROM ducto_sweep_expired()", '3', 'June comes, to all');
given($ann, '04 7.0000, 05 7.0000, 06 7.0000, 07 7.0000', '... and gives');
says("SELECT string_agg(n::text, ' ') FROM (SELECT count(*) AS n FROM ducto.ledger WHERE cycle_end = '2031-07-01' GROUP BY account_id) t", '2 2 2', '... once');
is_sound('June');

$session->quit;
$clock->node->stop;
done_testing();
