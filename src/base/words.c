/*
 * words.c
 *		Lists of words.
 */
#include "postgres.h"

#include "base/words.h"

/*
 * word_find returns which of a list of words a text is, -1 for none.
 */
int
word_find(Words words, const char *text)
{
	for (int i = words[0] == NULL ? 1 : 0; words[i] != NULL; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	return -1;
}
