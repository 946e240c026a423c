#ifndef DUCTO_ACCOUNT_ALERT_H
#define DUCTO_ACCOUNT_ALERT_H

#include "account/account.h"
#include "account/alertline.h"

/* What the key of a top-up begins with; the event's id follows. */
#define TOPUP_KEY	"topup:"

/* Auto top-up of an account, and what of it is due. */
typedef struct Topup
{
	bool		on;
	Money		below;
	Money		amount;
	int			max_per_month;	/* 0 for any number */
	char	   *due_key;		/* NULL for none */
	DateADT		month;			/* that count is of */
	int			count;
} Topup;

/* What an account itself says: a row of ducto.alerts. */
typedef struct OwnAlerts
{
	Lines		lines;
	Topup		topup;
	bool		exist;			/* there is a row */
	bool		told;			/* the balance is below a line, and an event said so */
} OwnAlerts;

extern void alerts_load(Account *acc, OwnAlerts *own);
extern void alerts_save(Account *acc, const OwnAlerts *own);
extern void alerts_lines(Account *acc, OwnAlerts *own, Lines *lines);
extern Money percent_of(Money amount, int percent);
extern uint64 alerts_expiring(TimestampTz now);
extern void alerts_tell_expiring(Account *acc);
extern int	alerts_cap_told(const Account *acc, const char *key, TimestampTz window);
extern void alerts_tell_cap(const Account *acc, const char *key, TimestampTz window, int percent);
extern void topup_withdraw(const Account *acc, Topup *topup);
extern void alerts_watch(Account *acc);
extern void alerts_added(Account *acc, const char *key);

#endif
